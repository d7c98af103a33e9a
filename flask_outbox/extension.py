"""The Flask extension: ``Mail`` binds the library to an app."""

from __future__ import annotations

import os
import re
from importlib import metadata as packages
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import flask_mail
from flask import Flask, Response, g

from .cli import mail_cli
from .direct import Connection, Message
from .settings import ConfigurationError, MailSettings
from .state import FAILED, KEY, MailState, current_state
from .store.database import postgresql
from .store.database.host import Unusable, find_database
from .store.models import copy_tables
from .store.transaction import watch_engine, watch_sessions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import sqlalchemy as sa

    from .store.database.host import Database
    from .store.status.health import HealthReport


class Mail(flask_mail.Mail):
    """Bind the library to an app: ``Mail(app)``, or ``mail = Mail()`` and ``mail.init_app(app)`` after ``db.init_app(app)``.

    *db* is the database of the outbox: nothing if the app uses Flask-SQLAlchemy or Flask-SQLAlchemy-Lite; a ``scoped_session``
    of plain SQLAlchemy, whose transactions the emails join; a ``sessionmaker`` or an ``Engine``, and then every email is
    committed alone unless ``enqueue`` is handed a session. *metadata* is the metadata of the host's tables, if *db* has
    none. *bell* is called after each commit with due mail, such as ``deliver_mail.delay`` of a Celery task that calls
    ``mail.deliver()``. It replaces what MAIL_DELIVERY says, except ``manual``, the default with TESTING.
    """

    def __init__(
        self,
        app: Flask | None = None,
        db: Any = None,
        *,
        metadata: sa.MetaData | None = None,
        bell: Callable[[], object] | None = None,
    ) -> None:
        self._db, self._metadata, self._bell = db, metadata, bell
        super().__init__(app)

    def init_app(self, app: Flask, db: Any = None) -> MailState:
        """Check the settings, describe the outbox tables in the app's metadata, and add ``flask mail``.

        Raises ConfigurationError with every problem: an invalid setting, or a database that cannot hold an outbox.
        """
        problems: list[str] = []
        settings = database = None
        try:
            settings = MailSettings.from_config(app.config, testing=app.testing)
        except ConfigurationError as error:
            problems += error.problems
        try:
            database = find_database(app, db if db is not None else self._db, self._metadata)
        except Unusable as error:
            problems.append(str(error))
        if settings is not None:
            problems += _package_problems(settings)
        if settings is not None and database is not None and self._bell is None:
            problems += _conflicts(settings, database)
        if problems or settings is None or database is None:
            raise ConfigurationError(problems)
        try:
            copy_tables(database.metadata)
        except ValueError as error:
            raise ConfigurationError([str(error)]) from error
        state = app.extensions[KEY] = MailState(app, settings, database, Connection, self._bell)
        watch_engine(database.engine)
        postgresql.watch(database.engine)
        watch_sessions()
        app.cli.add_command(mail_cli)
        app.after_request(_note_refusal)
        if state.bell.is_local:
            # Deliver what an earlier process has left behind.
            app.before_request(_StartOnce())
        return state

    def connect(self) -> Connection:
        """Open a connection for several messages: ``with mail.connect() as connection: connection.send(message)``."""
        return Connection(self._state)

    def send_message(self, *args: Any, **kwargs: Any) -> None:
        """Send ``Message(*args, **kwargs)`` now."""
        self.send(Message(*args, **kwargs))

    def deliver(self, seconds: float = float("inf")) -> int:
        """Deliver all due mail in this thread, for *seconds* at most; return how many emails were settled.

        For a task of your own (Celery, a cron script). Any number of these, and of workers, may run at the same time.
        """
        return self._state.deliver(seconds)

    def health(self) -> HealthReport:
        """Return whether mail goes out, and if not, why and what to do; for a health check of your own.

        A few queries that stay cheap with a million emails. Raises nothing if the database cannot be used: that is a problem in the
        report.
        """
        return self._state.health()

    @property
    def _state(self) -> MailState:
        state: MailState = self.app.extensions[KEY] if self.app is not None else current_state()
        return state


def _conflicts(settings: MailSettings, database: Database) -> list[str]:
    """Return the problems of settings that this database does not support."""
    if settings.delivery == "thread" and database.is_shared:
        message = (
            "MAIL_DELIVERY is thread, and the database is one connection that all threads share: use a database in a file, "
            "or set MAIL_DELIVERY to inline or manual"
        )
        return [message]
    return []


def _package_problems(settings: MailSettings) -> Iterator[str]:
    """Say which package is missing or too old."""
    wanted = {"Flask-Mail": (0, 10)}
    if settings.delivery == "rq":
        wanted["rq"] = (2, 0)
        if find_spec("rq") is None:
            yield "MAIL_DELIVERY is rq, and RQ is not installed: pip install flask-outbox[rq]"
    if settings.inline_css and find_spec("css_inline") is None:
        yield "MAIL_INLINE_CSS is on, and css-inline is not installed: pip install flask-outbox[inline]"
    if settings.rate and settings.redis_url and find_spec("redis") is None:
        yield "MAIL_RATE is counted in MAIL_REDIS_URL, and redis is not installed: pip install flask-outbox[rq]"
    for name, oldest in wanted.items():
        try:
            version = packages.version(name)
        except packages.PackageNotFoundError:
            # Not installed, which is reported already; or part of a frozen executable, which has no versions.
            continue
        if tuple(map(int, re.findall(r"\d+", version)[:2])) < oldest:
            yield f"{name} {version} is too old: install {name} {'.'.join(map(str, oldest))} or newer"


# The lowest status of a failed request.
ERROR_STATUS = 400


def _note_refusal(response: Response) -> Response:
    if response.status_code >= ERROR_STATUS:
        setattr(g, FAILED, True)
    return response


class _StartOnce:
    """Start the background thread with the first request of this process."""

    def __init__(self) -> None:
        self._pid = 0

    def __call__(self) -> None:
        if self._pid != os.getpid():
            self._pid = os.getpid()
            current_state().ring()
