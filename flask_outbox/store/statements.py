"""The SQL statements that run for every email or every claim, each compiled once.

To insert an email and to settle it, the compiled SQL is executed on the driver itself: SQLAlchemy Core takes twice as long as the
database, and a flush of the session takes three times as long, during which SQLite's one write lock is held.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from .lease import Claimed
from .models import Status, UTCDateTime, attempts, contents, emails
from .sqlite_lock import take_write_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sqlalchemy.engine import Connection, Dialect, Engine

    from .models import Content, Email

SETTLED = ("status", "reply", "tries", "send_at", "finished_at")
ATTEMPT = ("email_id", "worker", "started_at", "seconds", "outcome", "code", "enhanced", "reply")


class Prepared:
    """*statement*, compiled for *engine*'s driver; each of its parameters must be a ``bindparam`` with a name.

    The engine's ``schema_translate_map`` is applied here, as Core does for every other statement.
    """

    def __init__(self, statement: sa.ClauseElement, engine: Engine) -> None:
        dialect, schemas = engine.dialect, engine.get_execution_options().get("schema_translate_map")
        compiled: Any = statement.compile(dialect=dialect, schema_translate_map=schemas, render_schema_translate=bool(schemas))
        self._sql = str(compiled)
        # The order of positional parameters; None for a driver with named ones.
        self._order: list[str] | None = compiled.positiontup
        processors = {name: bind.type.dialect_impl(dialect).bind_processor(dialect) for name, bind in compiled.binds.items()}
        self._processors: dict[str, Callable[[Any], Any]] = {name: process for name, process in processors.items() if process}

    def execute(self, cursor: Any, values: Mapping[str, Any]) -> int:
        """Execute it on the driver's *cursor*, and return how many rows it changed; raises the driver's own errors."""
        row = dict(values)
        for name, process in self._processors.items():
            row[name] = process(row[name])
        cursor.execute(self._sql, row if self._order is None else [row[name] for name in self._order])
        changed: int = cursor.rowcount
        return changed

    def insert(self, cursor: Any, values: Mapping[str, Any]) -> int:
        """Execute an ``INSERT ... RETURNING id``, and return the id."""
        self.execute(cursor, values)
        row_id: int = cursor.fetchone()[0]
        return row_id


@contextmanager
def translated(connection: Connection) -> Iterator[None]:
    """Raise SQLAlchemy's error for one of the driver, and invalidate *connection* if it is lost, as Core does."""
    driver: Any = connection.dialect.dbapi
    try:
        yield
    except driver.Error as error:
        connection._handle_dbapi_exception(error, "a prepared statement", None, None, None)  # noqa: SLF001 - the one place that decides what is lost, for the whole pool


# Insert


def _insert(table: sa.Table) -> sa.Insert:
    columns = {column.name: sa.bindparam(column.name, type_=column.type) for column in table.columns if not column.primary_key}
    return sa.insert(table).values(columns).returning(table.c.id)


class InsertStatements:
    """Insert a message and its emails, in the SQL of *engine*'s database."""

    def __init__(self, engine: Engine) -> None:
        self._content, self._email = Prepared(_insert(contents), engine), Prepared(_insert(emails), engine)

    def execute(self, connection: Connection, new: list[Email]) -> None:
        """Insert *new*, which share one message, in the transaction on *connection*, and set their ids."""
        content = new[0].content
        with translated(connection):
            take_write_lock(connection)
            cursor = connection.connection.cursor()
            content.id = self._content.insert(cursor, _values(content, contents))
            for email in new:
                email.content_id = content.id
                email.id = self._email.insert(cursor, _values(email, emails))


def _values(row: Content | Email, table: sa.Table) -> dict[str, Any]:
    """Return a value for each column: the one that *row* was given, or None."""
    given = vars(row)
    return {name: given.get(name) for name in table.columns.keys()}  # noqa: SIM118 - the names, not the columns


# Claim


def due_statement(dialect: Dialect) -> sa.Select[int]:
    """Return the SELECT of due emails, the most urgent and oldest first; its parameters are *now* and *limit*."""
    # The status has to be a literal: only then does the database use the partial index.
    queued: sa.ColumnElement[bool] = emails.c.status == sa.literal(Status.QUEUED.value, literal_execute=True)
    if dialect.name == "sqlite":
        # Without this hint SQLite picks the index by status, and sorts the whole backlog for each claim.
        queued = sa.func.likely(queued)
    now, limit = sa.bindparam("now", type_=UTCDateTime), sa.bindparam("limit", type_=sa.Integer)
    order = emails.c.priority, emails.c.send_at, emails.c.id
    return sa.select(emails.c.id).where(queued, emails.c.send_at <= now).order_by(*order).limit(limit)


def claim_statement(dialect: Dialect) -> sa.UpdateBase:
    """Return the UPDATE that leases due emails and returns them as rows of ``Claimed``.

    Its parameters are those of ``due_statement``, and *token* and *until* for the lease.
    """
    due = due_statement(dialect).with_for_update(skip_locked=True)
    # PostgreSQL may run a plain subquery more than once and then take more than the limit. SQLite's driver opens no transaction
    # for a statement that begins with WITH.
    ids = sa.select(due.cte("due").c.id) if dialect.name == "postgresql" else due
    lease: dict[str, Any] = {"lease": sa.bindparam("token"), "lease_until": sa.bindparam("until")}
    columns = (emails.c[name] for name in Claimed.__slots__)
    return sa.update(emails).where(emails.c.id.in_(ids)).values(status=Status.SENDING.value, **lease).returning(*columns)


LOAD_MESSAGES = sa.select(contents.c.id, contents.c.sender, contents.c.source, contents.c.secret).where(
    contents.c.id.in_(sa.bindparam("ids", expanding=True)), contents.c.size <= sa.bindparam("max_size")
)


# Settle


def _settle_statements() -> tuple[sa.Update, sa.Insert, sa.Insert]:
    """Return the UPDATE of an email, the INSERT of its attempt, and both as one statement, for PostgreSQL."""
    mine = emails.c.id == sa.bindparam("email_id"), emails.c.lease == sa.bindparam("own_lease")
    new: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in SETTLED}
    settle = sa.update(emails).where(*mine).values(lease=sa.null(), lease_until=sa.null(), **new)
    attempt = {name: sa.bindparam(name, type_=attempts.c[name].type) for name in ATTEMPT}
    settled = settle.returning(emails.c.id).cte("settled")
    source = sa.select(settled.c.id, *(attempt[name] for name in ATTEMPT[1:]))
    return settle, sa.insert(attempts).values(attempt), sa.insert(attempts).from_select(ATTEMPT, source)


SETTLE, INSERT_ATTEMPT, SETTLE_WITH_ATTEMPT = _settle_statements()


class SettleStatements:
    """Write an email's new state and its attempt; on PostgreSQL in one statement, so in one round trip."""

    def __init__(self, engine: Engine) -> None:
        self._settle, self._insert_attempt = Prepared(SETTLE, engine), Prepared(INSERT_ATTEMPT, engine)
        self._both = Prepared(SETTLE_WITH_ATTEMPT, engine) if engine.dialect.name == "postgresql" else None

    def execute(self, connection: Connection, settled: dict[str, Any], attempt: dict[str, Any] | None) -> bool:
        """Execute in the transaction on *connection*, and return whether the lease was still ours.

        If it was lost, the email is not changed, but the attempt is recorded, because it was made.
        """
        cursor = connection.connection.cursor()
        if attempt is None:
            return bool(self._settle.execute(cursor, settled))
        if self._both is not None and self._both.execute(cursor, settled | attempt):
            return True
        is_mine = self._both is None and bool(self._settle.execute(cursor, settled))
        self._insert_attempt.execute(cursor, attempt)
        return is_mine


def record_unclaimed(connection: Connection, settled: dict[str, Any]) -> bool:
    """Record the acceptance of an email whose lease was lost, unless another worker has claimed it; return whether it is recorded.

    It may have been recorded before, by a commit whose answer was lost.
    """
    new = {name: settled[f"new_{name}"] for name in SETTLED}
    is_recorded = sa.and_(emails.c.status == new["status"], emails.c.finished_at == new["finished_at"])
    unclaimed = emails.c.id == settled["email_id"], sa.or_(emails.c.status == Status.QUEUED.value, is_recorded)
    return bool(connection.execute(sa.update(emails).where(*unclaimed).values(new)).rowcount)


def erase_secret(connection: Connection, content_id: int) -> None:
    """Erase the body of a secret message once no email needs it any more."""
    secret = contents.c.id == content_id, contents.c.secret
    if connection.dialect.name == "sqlite":
        # Overwrite it in the file too. The pragma fetches a row, which has to be read.
        connection.exec_driver_sql("PRAGMA secure_delete = ON").all()
    # Two workers may settle the last two emails at the same time, and neither sees what the other has not committed. This
    # UPDATE makes the second one wait. A SELECT ... FOR UPDATE would not do in REPEATABLE READ: there only a change makes the
    # second transaction fail, and its retry sees the first.
    connection.execute(sa.update(contents).where(*secret).values(secret=True))
    open_states = [status.value for status in Status if not status.is_final]
    needed = sa.exists().where(emails.c.content_id == content_id, emails.c.status.in_(open_states))
    connection.execute(sa.update(contents).where(*secret, ~needed).values(source=None))
