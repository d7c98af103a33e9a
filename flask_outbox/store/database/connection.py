"""A worker's database connection: kept open, apart from the host's session, and tuned for many small commits.

A rollback in the session cannot touch it. On PostgreSQL a single statement runs in autocommit mode, which saves the round trips
of BEGIN and COMMIT. On SQLite not every commit waits for the disk.
"""

from __future__ import annotations

import time
from contextlib import closing, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, NoReturn

import sqlalchemy as sa

from .sqlite_lock import take_write_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection, Engine

# The isolation level of a worker's transactions on PostgreSQL: each statement sees what others have committed.
ISOLATION = "READ COMMITTED"
# The longest time in seconds that SQLite commits without an fsync, under load. Such a commit survives a killed process, but not
# a power cut: then those emails go out twice, so this limits the copies. An fsync for each email would halve the speed.
FSYNC_EVERY = 0.01
# SQLite's PRAGMA synchronous = NORMAL: fsync at a checkpoint only.
NO_FSYNC = 1


class WorkerConnection:
    """One connection to *engine*'s database, opened when it is first needed and kept until ``close``.

    Its context managers raise SQLAlchemy's errors, for statements that are executed on the driver itself too. After an error of
    the database the connection is dropped, and the next use opens another.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        driver: Any = engine.dialect.dbapi
        self._driver_error: type[Exception] = driver.Error
        self._is_sqlite = engine.dialect.name == "sqlite"
        self._connection: Connection | None = None
        self._fsynced_at, self._is_fsynced = 0.0, True

    @contextmanager
    def use(self) -> Iterator[Connection]:
        """Give the connection, in whichever mode it was left."""
        if self._connection is None:
            self._connection = connect(self._engine)
        try:
            yield self._connection
        except self._driver_error as error:
            try:
                raise_translated(self._connection, error)
            finally:
                self._drop()
        except sa.exc.SQLAlchemyError:
            self._drop()
            raise

    @contextmanager
    def begin(self, *, fsync: bool = True) -> Iterator[Connection]:
        """Give the connection in a transaction, which is committed at the end; without *fsync* a power cut may undo it."""
        with self.use() as connection:
            _set_autocommit(connection, on=False)
            with connection.begin():
                if not fsync and self._is_sqlite:
                    _set_fsync(connection, on=False)
                yield connection

    @contextmanager
    def autocommit(self) -> Iterator[Connection]:
        """Give the connection for statements that need no transaction: on PostgreSQL each takes one round trip instead of three."""
        with self.use() as connection:
            _set_autocommit(connection, on=not self._is_sqlite and connection.default_isolation_level == ISOLATION)
            with connection.begin():
                yield connection

    @contextmanager
    def begin_on_driver(self) -> Iterator[Connection]:
        """Give the connection for a few prepared statements, and commit them with an fsync every FSYNC_EVERY seconds.

        On PostgreSQL each statement is a transaction of its own, unless the app's isolation level forbids that.
        """
        with self.use() as connection:
            if not self._is_sqlite:
                # In autocommit mode the server's own isolation level applies: the driver names another only in a BEGIN.
                is_default = connection.default_isolation_level == ISOLATION
                _set_autocommit(connection, on=is_default)
                with nullcontext() if is_default else connection.begin():
                    yield connection
                return
            fsync = time.monotonic() - self._fsynced_at >= FSYNC_EVERY
            _set_fsync(connection, on=fsync)
            take_write_lock(connection)
            yield connection
            connection.connection.commit()
            if fsync:
                self._fsynced_at = time.monotonic()
            self._is_fsynced = fsync

    def flush(self) -> None:
        """Flush pending commits to disk, and set the connection back to the mode in which the pool gave it."""
        if self._connection is None or self._connection.invalidated:
            return
        with self.use() as connection:
            _set_autocommit(connection, on=False)
            if not self._is_sqlite:
                return
            if not self._is_fsynced:
                # A checkpoint fsyncs; an empty commit would not.
                with driver_cursor(connection) as cursor:
                    cursor.execute("PRAGMA wal_checkpoint(PASSIVE)")
                self._is_fsynced = True
            _set_fsync(connection, on=True)

    def close(self) -> None:
        """Flush, and give the connection back to the pool."""
        try:
            self.flush()
        finally:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.invalidate()
        self.close()


def connect(engine: Engine) -> Connection:
    """Return a new connection of *engine*, in ISOLATION.

    The app may use a stricter isolation level. There, PostgreSQL would reject a claim or a settle because of what another worker
    has just committed (SQLSTATE 40001).
    """
    connection = engine.connect()
    return connection if engine.dialect.name == "sqlite" else connection.execution_options(isolation_level=ISOLATION)


def driver_cursor(connection: Connection) -> closing[Any]:
    """Return a cursor of the driver that is closed when its block ends, however it ends.

    A cursor that an error leaves open lives in the error's traceback until Python's garbage collector finds it, in whichever thread
    that runs. SQLite's driver resets it there, and waits until its connection does nothing. If that connection waits for the write
    lock, and the thread holds the lock, both wait until the busy timeout.
    """
    return closing(connection.connection.cursor())


@contextmanager
def translated(connection: Connection) -> Iterator[None]:
    """Raise SQLAlchemy's error for one of the driver; see ``raise_translated``."""
    driver: Any = connection.dialect.dbapi
    try:
        yield
    except driver.Error as error:
        raise_translated(connection, error)


def raise_translated(connection: Connection, error: Exception) -> NoReturn:
    """Raise SQLAlchemy's error for an *error* of the driver, and invalidate *connection* if it is lost, as Core does."""
    handle: Any = connection._handle_dbapi_exception  # noqa: SLF001 - the one place that decides what is lost, for the whole pool
    handle(error, "a prepared statement", None, None, None)
    raise error


def reason(error: Exception) -> str:
    """Return the first line of what the driver said, or else the driver's name for it; the other lines may hold values."""
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().partition("\n")[0] or type(cause).__name__


def _set_fsync(connection: Connection, *, on: bool) -> None:
    """Set whether a commit on this SQLite *connection* waits for the disk: as the app has configured it, or not at all."""
    info = connection.info
    if "synchronous" not in info:
        with driver_cursor(connection) as cursor:
            info["synchronous"] = info["synchronous now"] = cursor.execute("PRAGMA synchronous").fetchone()[0]
    level = info["synchronous"] if on else min(info["synchronous"], NO_FSYNC)
    if level != info["synchronous now"]:
        with driver_cursor(connection) as cursor:
            cursor.execute(f"PRAGMA synchronous = {level}")
        info["synchronous now"] = level


def _set_autocommit(connection: Connection, *, on: bool) -> None:
    """Set whether each statement on *connection* is a transaction of its own; remembered, because asking the driver is slow."""
    info, driver = connection.info, connection.connection.driver_connection
    if info.get("autocommit", False) is not on:
        driver.autocommit = info["autocommit"] = on  # type: ignore[union-attr] # psycopg has it
