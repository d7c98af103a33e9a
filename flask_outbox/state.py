"""The library's state for one app: its settings, its database, its bell, and what it delivers with."""

from __future__ import annotations

import logging
import sys
import weakref
from dataclasses import replace
from datetime import timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING

import flask_mail
from flask import Flask, current_app, g

from .delivery.bells import Bell, CallableBell, InlineBell, ThreadBell
from .delivery.couriers import Couriers
from .delivery.speed.pace import Pace
from .delivery.thread import DeliveryThread
from .events import facts
from .events import log as events
from .factories import connect_redis, make_delivery, make_outbox, make_rate, make_server, pinger, worker_name
from .message.templates import mail_templates
from .message.writer import write
from .smtp.line.debug import show_conversation
from .store.enqueue import Enqueuer
from .store.outbox import Outbox
from .store.recorder import Acceptances
from .store.statements import InsertStatements
from .store.status.health import read_health
from .store.status.status import StatusReader

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from jinja2 import Environment
    from redis import Redis
    from sqlalchemy.engine import Engine

    from .delivery.rq_worker import Worker
    from .message.address import AddressLike
    from .message.writer import WrittenMessage
    from .settings import MailSettings
    from .store.database.host import Database
    from .store.status.health import HealthReport
    from .store.transaction import Joined

log = logging.getLogger(__name__)

KEY = "mail"


class MailState(flask_mail._Mail):  # noqa: SLF001 - Flask-Mail's state for an app, which other extensions look up
    """The library's state for one app, at ``app.extensions["mail"]``; it has the fields of Flask-Mail's own state."""

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
        self._is_test = app.testing
        self.settings = settings
        self.database = database
        # A connection that all threads share has the caller's transaction open.
        self.smtp = make_server(settings, None if database.is_shared else database.engine_for(settings.connections))
        self.rate = make_rate(settings)
        self.pace = Pace()
        if settings.debug:
            show_conversation()
        self._acceptances = Acceptances()
        self._connect = connect
        self.bell: Bell = self._make_bell(app) if bell is None or settings.delivery == "manual" else CallableBell(bell)

    @property
    def app(self) -> Flask:
        """Return the app. The reference is weak, because a background thread holds parts of the state."""
        app = self._app()
        if app is None:  # pragma: no cover - a caller reaches the state through the app
            message = "the app no longer exists"
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
        """Return whether a thread of this process delivers."""
        return self.bell.is_local

    @cached_property
    def enqueuer(self) -> Enqueuer:
        """Return the enqueuer, which stores messages in this app's database."""
        return Enqueuer(InsertStatements(self.engine), self)

    @cached_property
    def templates(self) -> Environment:
        """Return the Jinja environment for mail."""
        return mail_templates(self.app, self.base_url)

    @property
    def base_url(self) -> str:
        """Return the URL that links in mail begin with; an empty string if neither MAIL_BASE_URL nor SERVER_NAME is set."""
        return self.settings.base_url or _server_url(self.app)

    def write(
        self, message: flask_mail.Message, *, send_at: datetime | None = None, envelope_from: AddressLike | None = None
    ) -> WrittenMessage:
        """Write *message* as ``message.writer`` does, and sign it with the keys of this app."""
        written = write(message, send_at=send_at, envelope_from=envelope_from)
        return replace(written, source=self.smtp.signer.sign(written.source, send_at))

    def _make_bell(self, app: Flask) -> Bell:
        match self.settings.delivery:
            case "rq":
                from .delivery.rq_worker import BELL_TIMEOUT, RqBell  # noqa: PLC0415 - loads RQ and Redis only with MAIL_DELIVERY=rq

                return RqBell(self.connect_redis(BELL_TIMEOUT), self.settings.redis_prefix)
            case "thread":
                is_needed = partial(_exists, weakref.ref(app))
                return ThreadBell(partial(DeliveryThread, self._couriers_maker(Bell().ring), shares_pool=True, is_needed=is_needed))
            case "inline":
                return InlineBell(self.deliver)
            case _:
                return Bell()

    def connect_redis(self, timeout: float | None = None) -> Redis:
        """Return a new client for MAIL_REDIS_URL; *timeout* is in seconds; None means redis-py's default."""
        return connect_redis(self.settings, timeout)

    # Delivering

    def make_couriers(self) -> Couriers:
        """Return couriers, which deliver over their own connections."""
        return self._couriers_maker(self.bell.ring if self.bell.wakes_workers else Bell().ring)()

    def _couriers_maker(self, ring: Callable[[], None]) -> Callable[[], Couriers]:
        """Return a function that makes couriers; it holds no reference to the app."""
        engine = self.database.engine_for(self.settings.connections)
        open_outbox = partial(make_outbox, self.settings, engine, self._acceptances)
        server = None if self.settings.suppress_send else self.smtp
        make = partial(make_delivery, open_outbox, server, (self.rate, self.pace))
        return partial(Couriers, make, self.settings.connections, ring, is_alone=self.database.is_shared)

    def make_thread(self) -> DeliveryThread:
        """Return a background thread that delivers; it is not started yet."""
        return DeliveryThread(self.make_couriers)

    def make_worker(self) -> Worker:
        """Return the RQ worker for this app's queue."""
        from .delivery.rq_worker import Worker  # noqa: PLC0415 - as above

        return Worker(self.make_thread(), self.connect_redis, self.settings.redis_prefix)

    def deliver(self, seconds: float = float("inf")) -> int:
        """Deliver all due mail in this thread, for *seconds* at most; return how many emails were settled."""
        couriers = self.make_couriers()
        try:
            return couriers.run(seconds)
        finally:
            couriers.close()

    def ring(self) -> None:
        """Ring the bell, so that due mail is delivered at once. An error is logged: the next delivery sends the mail anyway.

        If TESTING was set after init_app, no thread is started: it would use the test's database while the test does.
        """
        if self.app.testing and not self._is_test and self.bell.is_local:
            return
        try:
            self.bell.ring()
        except Exception:
            log.exception("the bell failed after a commit; the email is stored, and the next delivery sends it")

    def health(self) -> HealthReport:
        """Return whether mail goes out, and if not, why."""
        quiet_for = timedelta(seconds=self.rate.window if self.rate else 0)
        oauth = self.smtp.oauth
        token = (oauth.username, oauth.lifetime) if oauth and oauth.lifetime else None
        return read_health(self.engine, quiet_for=quiet_for, token=token)

    @cached_property
    def status_reader(self) -> StatusReader:
        """Return what reads the status of the outbox; it keeps figures for all threads of this process."""
        server = "none (MAIL_SUPPRESS_SEND)" if self.settings.suppress_send else f"{self.settings.server}:{self.settings.port}"
        uses_redis = self.settings.redis_url and (self.settings.delivery == "rq" or self.rate is not None)
        return StatusReader(self.engine, server, self.health, pinger(self.settings) if uses_redis else None)

    def end_pause(self) -> None:
        """End the pause after an SMTP error, so that the server is tried again at once."""
        outbox = Outbox(self.engine, worker_name())
        outbox.health.end_pause()
        outbox.close()

    # How a transaction with emails has ended

    def on_commit(self, joined: Joined) -> None:
        """Ring the bell. The commit has succeeded, so errors here are logged and not raised."""
        if joined.is_due:
            self.ring()
        if events.isEnabledFor(logging.DEBUG):
            for email_id in joined.email_ids:
                events.debug("email %d was enqueued", email_id, extra=facts("enqueued", email_id))
        try:
            for message in joined.messages:
                flask_mail.email_dispatched.send(self.app, message=message)
        except Exception:
            log.exception("a receiver of email_dispatched failed after a commit; the email is stored nevertheless")

    def on_abandon(self, joined: Joined) -> None:
        """Report emails whose transaction was neither committed nor rolled back, unless an error explains that."""
        if sys.exc_info()[1] is not None or (g and g.get(FAILED)):
            log.info("%s discarded, because an error occurred before the commit", joined.counted)
            return
        log.error(
            "%s joined a transaction that was never committed, so nothing is sent: "
            "call db.session.commit() after send_email(), or call send_email() with nothing pending",
            joined.counted,
        )


# The attribute of flask.g that marks a failed request.
FAILED = "_outbox_failed"


def _exists(reference: weakref.ref[Flask]) -> bool:
    return reference() is not None


def current_state() -> MailState:
    """Return the state of the current app; raise RuntimeError if the extension is not bound to it."""
    state = current_app.extensions.get(KEY)
    if not isinstance(state, MailState):
        message = "Flask-Outbox is not bound to this app: call mail.init_app(app), after db.init_app(app)"
        raise RuntimeError(message)  # noqa: TRY004 - the extension is missing, or another one has its key
    return state


def _server_url(app: Flask) -> str:
    """Return the base URL from Flask's own settings; an empty string without SERVER_NAME."""
    name = app.config.get("SERVER_NAME")
    scheme, root = app.config["PREFERRED_URL_SCHEME"], app.config["APPLICATION_ROOT"]
    return f"{scheme}://{name}{root}".rstrip("/") if name else ""
