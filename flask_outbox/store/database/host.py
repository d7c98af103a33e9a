"""How the host's database is reached: its engine, its metadata, and the session of the current context.

The host may use Flask-SQLAlchemy, Flask-SQLAlchemy-Lite, or plain SQLAlchemy; only this module distinguishes them. It rejects an
unusable database with one sentence, when the extension is bound to the app.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.pool import AssertionPool, NullPool, QueuePool, SingletonThreadPool, StaticPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask

SUPPORTED = ("sqlite", "postgresql")
# Pools without a separate connection for a background thread: two threads on one connection crash SQLite's driver.
SHARED = (StaticPool, SingletonThreadPool, AssertionPool)


class Unusable(Exception):  # noqa: N818 - the extension reports it as a ConfigurationError
    """The host's database cannot hold an outbox; the message says why and what to do."""


class Database:
    """The database of one app.

    *engine* runs the worker's statements, *metadata* describes the host's tables (None if it is unknown), and *current*
    returns the session of the current context (None without one: every email is committed alone).
    """

    def __init__(self, engine: sa.Engine, metadata: sa.MetaData | None, current: Callable[[], Session] | None) -> None:
        self.engine = engine
        self.metadata = metadata
        self._current = current

    @contextmanager
    def session(self, given: Session | None = None) -> Iterator[Session]:
        """Give the session to enqueue with: *given*, the current one, or a new one that is closed afterwards."""
        if given is not None:
            yield given
        elif self._current is not None:
            yield self._current()
        else:
            with Session(self.engine, expire_on_commit=False) as session:
                yield session

    @property
    def is_shared(self) -> bool:
        """Return whether all threads share one connection, so that none can deliver in the background."""
        return isinstance(self.engine.pool, SHARED)

    def engine_for(self, connections: int) -> sa.Engine:
        """Return an engine for deliveries that keep up to *connections* while they wait for the SMTP server.

        That is the host's own, unless its pool is so small that requests would time out: then it is a copy without a pool.
        """
        pool = self.engine.pool
        if not isinstance(pool, QueuePool) or _capacity(pool) >= 2 * connections:
            return self.engine
        own = NullPool(pool._creator, dialect=self.engine.dialect, _dispatch=pool.dispatch)  # noqa: SLF001 - SQLAlchemy has no public way to share how an engine connects
        options = dict(self.engine.get_execution_options())
        return sa.Engine(own, self.engine.dialect, self.engine.url, execution_options=options, hide_parameters=True)


def _capacity(pool: QueuePool) -> float:
    """Return how many connections *pool* can open at the same time."""
    overflow = pool._max_overflow  # noqa: SLF001 - SQLAlchemy publishes only the current number
    return float("inf") if overflow < 0 or pool.size() == 0 else pool.size() + overflow


def find_database(app: Flask, given: Any, metadata: sa.MetaData | None) -> Database:
    """Return the database of *app*: the *given* one, or that of the extension that the app uses.

    *given* is a ``scoped_session``, a ``sessionmaker``, an ``Engine``, a Flask extension with ``session`` and ``engine``, or
    None. Raises Unusable with one sentence if there is no usable database.
    """
    if given is None:
        given = app.extensions.get("sqlalchemy")
    if given is None:
        message = (
            "the outbox needs the app's database: call db.init_app(app) before mail.init_app(app), "
            "or hand over a session or an engine of plain SQLAlchemy: Mail(app, db=Session)"
        )
        raise Unusable(message)
    database = _recognize(app, given, metadata)
    name = database.engine.dialect.name
    if name not in SUPPORTED:
        message = f"the outbox works on PostgreSQL and SQLite, and this database is {name}: hand one over, as Mail(db=engine)"
        raise Unusable(message)
    if database.engine.dialect.is_async:
        raise Unusable(ASYNC)
    return database


ASYNC = (
    "the outbox needs a synchronous engine: create one beside the asynchronous one, for example "
    "create_engine('postgresql+psycopg://...'), and hand it over: Mail(app, db=engine)"
)


def _recognize(app: Flask, given: Any, metadata: sa.MetaData | None) -> Database:
    if isinstance(given, sa.Engine):
        return Database(given, metadata, None)
    if hasattr(given, "sync_engine"):  # an AsyncEngine, whose module cannot be imported without greenlet
        raise Unusable(ASYNC)
    if isinstance(given, sessionmaker):
        return Database(_bind_of(given), metadata, None)
    if isinstance(given, scoped_session):
        return Database(_bind_of(given.session_factory), metadata, given)
    # Not hasattr(given, ...): Flask-SQLAlchemy-Lite's properties need an app context.
    if hasattr(type(given), "engine") and ("session" in vars(given) or hasattr(type(given), "session")):
        return Database(_engine_of(app, given), metadata or getattr(given, "metadata", None), lambda: _session_of(given))
    message = (
        f"the outbox cannot use {type(given).__name__} as its database: hand over a scoped_session, a sessionmaker, an Engine, "
        "or nothing if the app uses Flask-SQLAlchemy"
    )
    raise Unusable(message)


def _bind_of(factory: Any) -> sa.Engine:
    """Return the engine that a session factory is bound to."""
    bind = getattr(factory, "kw", {}).get("bind")
    if isinstance(bind, sa.Connection):
        return bind.engine
    if isinstance(bind, sa.Engine):
        return bind
    message = "the session has no engine yet: write sessionmaker(bind=engine) before you hand it to Mail"
    raise Unusable(message)


def _engine_of(app: Flask, extension: Any) -> sa.Engine:
    """Return the default engine of Flask-SQLAlchemy or Flask-SQLAlchemy-Lite."""
    with app.app_context():
        try:
            engine = extension.engine
        except KeyError as error:
            message = (
                "the outbox needs the app's default database, and the app has only others: configure a default one, "
                "or hand over the engine that shall hold the outbox: Mail(app, db=engine)"
            )
            raise Unusable(message) from error
    return engine.engine if isinstance(engine, sa.Connection) else engine


def _session_of(extension: Any) -> Session:
    """Return the session of the current context; looked up each time, because tests replace it."""
    session: Any = extension.session
    return session() if callable(session) and not isinstance(session, Session) else session  # type: ignore[no-any-return] # as Any above
