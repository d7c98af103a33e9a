"""The Flask extension: flask_mail.Mail with our transport, our writer and the outbox behind it."""

from __future__ import annotations

import atexit
import logging
import os
import socket
import time
from dataclasses import dataclass
from email.utils import make_msgid
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Protocol, Self

import flask_mail
from flask import Flask, current_app

from .cli.commands import mail_cli
from .delivery.couriers import Couriers
from .delivery.delivery import Delivery
from .delivery.rate import Rate
from .delivery.rq_worker import BELL_TIMEOUT, InlineBell, RqBell, ThreadBell, Worker, connect
from .delivery.thread import Deliverer
from .errors import Deferred, Held, Refused, TransmissionError, Unavailable
from .message.address import parse
from .message.templates import mail_templates
from .message.writer import write
from .smtp.connection import no_guard
from .smtp.envelope import Envelope
from .smtp.oauth import OAuth
from .smtp.server import Server
from .smtp.staging import Staging
from .smtp.transport import Transport
from .store.insertion import Insertion
from .store.models import copy_tables
from .store.outbox import RETRY_FOR, Outbox
from .store.transaction import watch_engine, watch_session

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta
    from types import TracebackType

    from flask import Config
    from jinja2 import Environment
    from redis import Redis
    from sqlalchemy.engine import Engine

    from .message.writer import Wire
    from .store.transaction import Joined

log = logging.getLogger(__name__)

Message = flask_mail.Message
# Each Message makes an id, for which the standard library asks the resolver for this host's name: that takes as long as DNS
# likes. The id that is sent is the writer's own.
flask_mail.make_msgid = partial(make_msgid, domain="localhost")  # type: ignore[attr-defined]


# Of one worker to a server that takes its time; Gmail allows some 15 for all, many providers fewer than 10.
CONNECTIONS = 4


class Bell(Protocol):
    """What is rung after a commit."""

    def ring(self) -> None:
        """Have what is due delivered soon."""


class MailState(flask_mail._Mail):  # noqa: SLF001 - the state that Flask-Mail keeps for each app
    """What the package knows of one app: its settings, its bell, and how to deliver."""

    def __init__(self, app: Flask, **flask_mail_settings: Any) -> None:
        super().__init__(**flask_mail_settings)
        config = app.config
        self.app = app
        self.subject_prefix: str = config.get("FLASKY_MAIL_SUBJECT_PREFIX", "")
        self.sender: str | None = config.get("FLASKY_MAIL_SENDER") or self.default_sender
        self.default_sender = self.default_sender or self.sender
        self.redis_url: str = config.get("REDIS_URL") or ""
        self._verify_redis: bool = config.get("REDIS_TLS_VERIFY", True)
        self.smtp = self._make_server(config)
        self.retry_for: timedelta = config.get("MAIL_RETRY_FOR") or RETRY_FOR
        self.connections: int = config.get("MAIL_CONNECTIONS") or CONNECTIONS
        if self.debug:
            logging.getLogger(f"{__package__}.smtp.conversation").setLevel(logging.DEBUG)
        self.bell: Bell = self._make_bell(config.get("FLASKY_MAIL_DISPATCH") or ("rq" if self.redis_url else "thread"))

    def _make_server(self, config: Config) -> Server:
        oauth = None
        if config.get("MAIL_AUTH") == "xoauth2":
            oauth = OAuth(
                username=self.username or "",
                client_id=config["MAIL_OAUTH_CLIENT_ID"],
                client_secret=config.get("MAIL_OAUTH_CLIENT_SECRET") or "",
                refresh_token=config["MAIL_OAUTH_REFRESH_TOKEN"],
                token_url=config.get("MAIL_OAUTH_TOKEN_URL") or "google",
            )
        return Server(
            host=self.server,
            port=self.port or 25,
            use_tls=self.use_tls,
            use_ssl=self.use_ssl,
            username=self.username,
            password=self.password,
            timeout=float(config.get("MAIL_TIMEOUT") or 30),
            max_emails=self.max_emails,
            ca_file=config.get("MAIL_TLS_CA") or None,
            oauth=oauth,
            staging=Staging(tuple(config.get("MAIL_ALLOW_TO") or ()), config.get("MAIL_REDIRECT_TO") or ""),
        )

    @property
    def delivers_here(self) -> bool:
        """Return whether this very process delivers, in a thread."""
        return isinstance(self.bell, ThreadBell)

    @property
    def engine(self) -> Engine:
        """Return the engine of the site's database."""
        engine: Engine = self.app.extensions["sqlalchemy"].engine
        return engine

    @cached_property
    def insertion(self) -> Insertion:
        """Return the statements that enqueue in this app's database."""
        return Insertion(self.engine.dialect)

    @cached_property
    def templates(self) -> Environment:
        """Return the environment in which mail is rendered."""
        return mail_templates(self.app, self.app.config.get("FLASKY_BASE_URL") or "")

    def _make_bell(self, dispatch: str) -> Bell:
        if dispatch == "rq":
            return RqBell(self.connect_redis(BELL_TIMEOUT))
        if dispatch == "thread":
            bell = ThreadBell(self.make_deliverer)
            atexit.register(bell.stop)
            return bell
        return InlineBell(self.deliver)

    def connect_redis(self, timeout: float | None = None) -> Redis:
        """Return a new client for the app's Redis."""
        return connect(self.redis_url, verify=self._verify_redis, timeout=timeout)

    # Delivering

    def make_delivery(self) -> Couriers:
        """Return what delivers, with connections of its own."""
        # Not looked up later: a further courier has no app context.
        engine, rate = self.engine, self._make_rate()

        def make(on_backlog: Callable[[], None], *, is_further: bool) -> Delivery:
            outbox = Outbox(engine, _worker_name(), self.retry_for)
            transport = None if self.suppress else Transport(self.smtp)
            return Delivery(outbox, transport, rate, on_backlog, is_further=is_further)

        # Only RQ has other workers to call for help.
        return Couriers(make, self.connections, self.bell.ring if isinstance(self.bell, RqBell) else no_guard)

    def _make_rate(self) -> Rate | None:
        text = self.app.config.get("MAIL_RATE")
        if not text:
            return None
        unverified = {"ssl_cert_reqs": "none"} if self.redis_url.startswith("rediss:") and not self._verify_redis else {}
        return Rate(text, self.redis_url, **unverified)

    def make_deliverer(self) -> Deliverer:
        """Return a deliverer, not yet started."""
        return Deliverer(self.app, self.make_delivery)

    def make_worker(self) -> Worker:
        """Return the RQ worker for this app's queue."""
        return Worker(self.make_deliverer(), self.connect_redis)

    def deliver(self, seconds: float = float("inf")) -> int:
        """Deliver what is due, here and now, and return how many emails were settled."""
        delivery = self.make_delivery()
        try:
            return delivery.run(seconds)
        finally:
            delivery.close()

    def ring(self) -> None:
        """Have what is due delivered soon, by whoever delivers."""
        self.bell.ring()

    def forget_health(self) -> None:
        """Try the server again at once, however long it was to be left alone."""
        outbox = Outbox(self.engine, _worker_name())
        outbox.end_rest()
        outbox.close()

    def on_commit(self, joined: Joined) -> None:
        """Ring for what is due; the commit has succeeded, so nothing that fails here may look like its failure."""
        try:
            if joined.is_due:
                self.bell.ring()
            for message in joined.messages:
                flask_mail.email_dispatched.send(self.app, message=message)
        except Exception:
            log.exception("mail: stumbled after a commit; the email is stored, and the next sweep sends it")


class Mail(flask_mail.Mail):
    """Bind the mail package to an app: ``mail.init_app(app)``, after ``db.init_app(app)``."""

    def init_app(self, app: Flask) -> MailState:
        """Read the settings, add the outbox tables to the app's metadata, and watch its sessions.

        Raises RuntimeError where Flask-SQLAlchemy has not been bound before.
        """
        database = app.extensions.get("sqlalchemy")
        if database is None:
            message = "the outbox lives in the app's database: call db.init_app(app) before mail.init_app(app)"
            raise RuntimeError(message)
        base = self.init_mail(app.config, testing=app.testing)
        app.extensions["mail"] = state = MailState(app, **vars(base))
        copy_tables(database.metadata)
        with app.app_context():
            watch_engine(database.engine)
        if not hasattr(database, "_flasky_mail"):
            database._flasky_mail = self  # noqa: SLF001 - a listener registered twice is called twice
            watch_session(database.session, _on_commit)
        app.cli.add_command(mail_cli)
        if isinstance(state.bell, ThreadBell):
            # Whatever an earlier process left behind goes out again once this one serves.
            app.before_request(_StartOnce(state.bell))
        return state

    def connect(self) -> Connection:
        """Open a connection for several messages: ``with mail.connect() as connection: connection.send(message)``."""
        app = self.app or current_app
        return Connection(app.extensions["mail"])


def _on_commit(joined: Joined) -> None:
    current_app.extensions["mail"].on_commit(joined)


class _StartOnce:
    """Start the thread's bell with the first request of this process."""

    def __init__(self, bell: ThreadBell) -> None:
        self._bell = bell
        self._pid = 0

    def __call__(self) -> None:
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._bell.ring()


@dataclass
class _Failure:
    recipient: str
    error: TransmissionError


class Connection(flask_mail.Connection):
    """flask_mail's connection, over our transport: verified, with timeouts, and with a goodbye that cannot hurt."""

    mail: MailState  # type: ignore[assignment] # what Flask-Mail hands in, whatever it says

    def __init__(self, mail: MailState) -> None:
        super().__init__(mail)  # type: ignore[arg-type]
        self._transport = Transport(mail.smtp)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._transport.close()

    def send(self, message: Message, envelope_from: str | tuple[str, str] | None = None) -> None:
        """Send *message* now, to each of its recipients in turn.

        Raises InvalidMessage before anything is sent; Unavailable where no server takes mail; Refused or Deferred, naming
        every recipient that was not served, once all have been tried.
        """
        if message.date is None:
            message.date = time.time()
        wire = write(message)
        sender = parse(envelope_from, "envelope_from") if envelope_from else wire.sender
        failures = self._transmit(wire, sender.envelope)
        if failures:
            first = failures[0].error
            said = "; ".join(f"{one.recipient}: {one.error}" for one in failures)
            raise type(first)(said, first.code) from first
        self.num_emails += 1
        flask_mail.email_dispatched.send(current_app._get_current_object(), message=message)  # type: ignore[attr-defined]  # noqa: SLF001

    def _transmit(self, wire: Wire, sender: str) -> list[_Failure]:
        """Send to each recipient, and return those who were not served; all of the rest, where the server goes away."""
        failures: list[_Failure] = []
        waiting = [] if self.mail.suppress else [one.envelope for one in wire.recipients]
        while waiting:
            try:
                self._transport.transmit(Envelope(sender, waiting[0], wire.source))
            except (Refused, Deferred, Held) as error:
                failures.append(_Failure(waiting[0], error))
            except Unavailable as error:
                return [_Failure(", ".join(waiting), error), *failures]
            del waiting[0]
        return failures


def _worker_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"
