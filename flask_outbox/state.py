"""What belongs to one app: its settings, its database, its bell, and how to deliver from it."""

from __future__ import annotations

import logging
import os
import socket
import sys
import weakref
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import flask_mail
from flask import Flask, current_app, g

from .delivery.bells import Bell, CallableBell, InlineBell, ThreadBell
from .delivery.couriers import Couriers
from .delivery.delivery import Delivery
from .delivery.thread import Deliverer
from .message.templates import mail_templates
from .smtp.oauth import OAuth
from .smtp.server import Server
from .smtp.staging import Staging
from .smtp.transport import Transport
from .store.enqueue import Enqueuer
from .store.outbox import Outbox
from .store.statements import InsertStatements

if TYPE_CHECKING:
    from collections.abc import Callable

    from jinja2 import Environment
    from redis import Redis
    from sqlalchemy.engine import Engine

    from .delivery.rate import Rate
    from .delivery.rq_worker import Worker
    from .settings import MailSettings
    from .store.database import Database
    from .store.transaction import Joined

log = logging.getLogger(__name__)

KEY = "mail"


class MailState(flask_mail._Mail):  # noqa: SLF001 - the state that Flask-Mail keeps for each app, which others look up
    """The library's state for one app, at ``app.extensions["mail"]``; a plain ``flask_mail`` finds its own fields there."""

    def __init__(
        self,
        app: Flask,
        settings: MailSettings,
        database: Database,
        connect: Callable[[MailState], flask_mail.Connection],
        bell: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(
            settings.server,
            settings.username,
            settings.password,
            settings.port,
            settings.use_tls,
            settings.use_ssl,
            settings.default_sender,
            int(settings.debug),
            settings.max_emails,
            settings.suppress_send,
            ascii_attachments=False,
        )
        self._app = weakref.ref(app)
        self.settings = settings
        self.database = database
        self.smtp = make_server(settings)
        self.rate = _make_rate(settings)
        if settings.debug:
            logging.getLogger(f"{__package__}.smtp").setLevel(logging.DEBUG)
        self._connect = connect
        self.bell: Bell = self._make_bell(app) if bell is None or settings.delivery == "manual" else CallableBell(bell)

    @property
    def app(self) -> Flask:
        """Return the app; the state must not keep it alive, because a background thread holds parts of the state."""
        app = self._app()
        if app is None:  # pragma: no cover - whoever asks came by way of the app
            message = "the app is gone"
            raise RuntimeError(message)
        return app

    def connect(self) -> flask_mail.Connection:
        """Open a connection for ``current_app.extensions["mail"].send(message)``, which other extensions call."""
        return self._connect(self)

    @property
    def engine(self) -> Engine:
        """Return the engine of the app's database."""
        return self.database.engine

    @property
    def delivers_here(self) -> bool:
        """Return whether a thread of this very process delivers."""
        return self.bell.is_local

    @cached_property
    def enqueuer(self) -> Enqueuer:
        """Return what stores messages in this app's database."""
        return Enqueuer(InsertStatements(self.engine.dialect), self)

    @cached_property
    def templates(self) -> Environment:
        """Return the environment in which mail is rendered."""
        return mail_templates(self.app, self.settings.base_url or _server_url(self.app))

    def _make_bell(self, app: Flask) -> Bell:
        match self.settings.delivery:
            case "rq":
                from .delivery.rq_worker import BELL_TIMEOUT, RqBell  # noqa: PLC0415 - loads RQ and Redis only if they are used

                return RqBell(self.connect_redis(BELL_TIMEOUT))
            case "thread":
                is_needed = partial(_exists, weakref.ref(app))
                return ThreadBell(partial(Deliverer, self._make_couriers(Bell().ring), is_guest=True, is_needed=is_needed))
            case "inline":
                return InlineBell(self.deliver)
            case _:
                return Bell()

    def connect_redis(self, timeout: float | None = None) -> Redis:
        """Return a new client for MAIL_REDIS_URL; *timeout* is in seconds, None for redis-py's own."""
        from .delivery.rq_worker import connect  # noqa: PLC0415 - as above

        return connect(self.settings.redis_url, verify=self.settings.redis_tls_verify, timeout=timeout)

    # Delivering

    def make_delivery(self) -> Couriers:
        """Return what delivers, with connections of its own."""
        return self._make_couriers(self.bell.ring if self.bell.wakes_workers else Bell().ring)()

    def _make_couriers(self, ring: Callable[[], None]) -> Callable[[], Couriers]:
        """Return a function that makes what delivers, and holds no app."""
        engine = self.database.engine_for(self.settings.connections)
        return partial(make_delivery, self.settings, self.smtp, engine, self.rate, ring)

    def make_deliverer(self) -> Deliverer:
        """Return a background thread that delivers, not yet started."""
        return Deliverer(self.make_delivery)

    def make_worker(self) -> Worker:
        """Return the RQ worker for this app's queue."""
        from .delivery.rq_worker import Worker  # noqa: PLC0415 - as above

        return Worker(self.make_deliverer(), self.connect_redis)

    def deliver(self, seconds: float = float("inf")) -> int:
        """Deliver what is due, here and now, for *seconds* at most; return how many emails were settled."""
        delivery = self.make_delivery()
        try:
            return delivery.run(seconds)
        finally:
            delivery.close()

    def ring(self) -> None:
        """Have due mail delivered soon, by whoever delivers."""
        self.bell.ring()

    def forget_health(self) -> None:
        """Let the SMTP server be tried again at once, however long it was to be left alone."""
        outbox = Outbox(self.engine, worker_name())
        outbox.health.end_pause()
        outbox.close()

    # How a transaction with emails has ended

    def on_commit(self, joined: Joined) -> None:
        """Ring the bell. The commit has succeeded, so nothing that fails here may look like its failure."""
        try:
            if joined.is_due:
                self.bell.ring()
        except Exception:
            log.exception("mail: the bell failed after a commit; the email is stored, and whoever delivers next sends it")
        try:
            for message in joined.messages:
                flask_mail.email_dispatched.send(self.app, message=message)
        except Exception:
            log.exception("mail: a receiver of email_dispatched failed after a commit; the email is stored all the same")

    def on_abandon(self, joined: Joined) -> None:
        """Report emails whose transaction was neither committed nor rolled back, unless an error explains that."""
        if sys.exc_info()[1] is not None or (g and g.get(FAILED)):
            log.info("mail: %d emails were discarded, because an error came before the commit", joined.count)
            return
        log.error(
            "mail: %d emails joined a transaction that was never committed, so they do not exist: "
            "call db.session.commit() after send_email(), or call send_email() with nothing pending",
            joined.count,
        )


# Where flask.g says that the current context has failed.
FAILED = "_outbox_failed"


def _exists(reference: weakref.ref[Flask]) -> bool:
    return reference() is not None


def current_state() -> MailState:
    """Return the state of the current app; raise RuntimeError if the extension is not bound to it."""
    state = current_app.extensions.get(KEY)
    if not isinstance(state, MailState):
        message = "Flask-Outbox is not bound to this app: call mail.init_app(app), after db.init_app(app)"
        raise RuntimeError(message)  # noqa: TRY004 - nothing is there, or another extension is
    return state


def make_server(settings: MailSettings) -> Server:
    """Return the SMTP server that *settings* describe."""
    oauth = None
    if settings.auth == "xoauth2":
        oauth = OAuth(
            username=settings.username or "",
            client_id=settings.oauth_client_id,
            client_secret=settings.oauth_client_secret,
            refresh_token=settings.oauth_refresh_token,
            token_url=settings.oauth_token_url,
        )
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
        oauth=oauth,
        staging=Staging(settings.allow_to, settings.redirect_to),
    )


def make_delivery(settings: MailSettings, server: Server, engine: Engine, rate: Rate | None, ring: Callable[[], None]) -> Couriers:
    """Return what delivers from *engine*'s database to *server*; *ring* calls further workers when mail is left over."""

    def make(on_backlog: Callable[[], None], *, is_further: bool) -> Delivery:
        outbox = Outbox(engine, worker_name(), settings.retry_for)
        transport = None if settings.suppress_send else Transport(server)
        return Delivery(outbox, transport, rate, on_backlog, is_further=is_further)

    return Couriers(make, settings.connections, ring)


def _make_rate(settings: MailSettings) -> Rate | None:
    if not settings.rate:
        return None
    from .delivery.rate import Rate  # noqa: PLC0415 - loads limits only if it is used

    unverified: dict[str, Any] = {}
    if settings.redis_url.startswith("rediss:") and not settings.redis_tls_verify:
        unverified = {"ssl_cert_reqs": "none"}
    return Rate(settings.rate, settings.redis_url, **unverified)


def _server_url(app: Flask) -> str:
    """Return the base URL by Flask's own settings; empty if they do not say."""
    name = app.config.get("SERVER_NAME")
    scheme, root = app.config["PREFERRED_URL_SCHEME"], app.config["APPLICATION_ROOT"]
    return f"{scheme}://{name}{root}".rstrip("/") if name else ""


def worker_name() -> str:
    """Return the name that this process's attempts are filed under."""
    return f"{socket.gethostname()}:{os.getpid()}"
