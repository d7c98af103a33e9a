"""Makes what an app delivers with, as its settings say: the server, the rate, a Redis client, the outbox, the delivery."""

from __future__ import annotations

import os
import socket
from functools import partial
from typing import TYPE_CHECKING

from .delivery.delivery import Delivery
from .message.address import parse
from .message.dkim.key import read_key
from .message.dkim.signer import Signer
from .smtp.oauth import OAuth, OwnRefreshToken
from .smtp.server import Server, ehlo_name
from .smtp.staging import Staging
from .smtp.transport import Transport
from .store.outbox import Outbox
from .store.refresh_token import StoredRefreshToken

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis
    from sqlalchemy.engine import Engine

    from .delivery.speed.pace import Pace
    from .delivery.speed.rate import Rate
    from .settings import MailSettings
    from .store.recorder import Acceptances


def make_server(settings: MailSettings, engine: Engine | None = None) -> Server:
    """Return the SMTP server that *settings* describe; *engine*'s database keeps its OAuth2 refresh token."""
    redirect_to = parse(settings.redirect_to, "MAIL_REDIRECT_TO").envelope if settings.redirect_to else ""
    return Server(
        host=settings.server,
        port=settings.port,
        use_tls=settings.use_tls,
        use_ssl=settings.use_ssl,
        username=settings.username,
        password=settings.password,
        timeout=settings.timeout,
        max_emails=settings.max_emails,
        ca_file=settings.tls_ca or None,
        oauth=_make_oauth(settings, engine) if settings.auth == "xoauth2" else None,
        staging=Staging(settings.allow_to, redirect_to),
        signer=Signer(map(read_key, settings.dkim_keys)),
        ehlo_name=settings.ehlo_name or ehlo_name(settings.base_url),
    )


def _make_oauth(settings: MailSettings, engine: Engine | None) -> OAuth:
    account, configured = settings.username or "", settings.oauth_refresh_token
    # An exchange takes MAIL_TIMEOUT to connect and the same again to answer.
    stored = None if engine is None else StoredRefreshToken(engine, account, configured, 2 * settings.timeout + 1)
    return OAuth(
        username=account,
        client_id=settings.oauth_client_id,
        client_secret=settings.oauth_client_secret,
        refresh_token=stored or OwnRefreshToken(configured),
        token_url=settings.oauth_token_url,
        timeout=settings.timeout,
    )


def make_outbox(settings: MailSettings, engine: Engine, acceptances: Acceptances) -> Outbox:
    """Return an outbox with a database connection of its own, under the name of this process."""
    return Outbox(engine, worker_name(), settings.retry_for, acceptances)


def make_delivery(
    open_outbox: Callable[[], Outbox],
    server: Server | None,
    limits: tuple[Rate | None, Pace],
    on_backlog: Callable[[], None],
    *,
    is_extra: bool,
) -> Delivery:
    """Return a delivery to *server*, with connections of its own; without a server it transmits nothing."""
    return Delivery(open_outbox(), None if server is None else Transport(server), *limits, on_backlog, is_extra=is_extra)


def make_rate(settings: MailSettings) -> Rate | None:
    """Return the limit that MAIL_RATE sets, or None without one."""
    if not settings.rate:
        return None
    from .delivery.speed.rate import REDIS_TIMEOUT, Rate  # noqa: PLC0415 - loads limits only with MAIL_RATE

    redis = connect_redis(settings, REDIS_TIMEOUT) if settings.redis_url else None
    return Rate(settings.rate, redis, settings.redis_prefix)


def connect_redis(settings: MailSettings, timeout: float | None) -> Redis:
    """Return a new client for MAIL_REDIS_URL; *timeout* is in seconds; None means redis-py's default."""
    from .delivery.redis_client import connect  # noqa: PLC0415 - loads Redis only if it is used

    return connect(settings.redis_url, verify=settings.redis_tls_verify, timeout=timeout)


def pinger(settings: MailSettings) -> Callable[[], str | None]:
    """Return a function that asks Redis for an answer, and returns what is wrong with it, or None."""
    from .delivery.redis_client import PING_TIMEOUT, ping  # noqa: PLC0415 - as above

    return partial(ping, connect_redis(settings, PING_TIMEOUT))


def worker_name() -> str:
    """Return the name under which this process records its attempts."""
    return f"{socket.gethostname()}:{os.getpid()}"
