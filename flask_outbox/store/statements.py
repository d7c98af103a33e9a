"""The SQL statements that run for every email or every claim, each compiled once.

To insert an email and to settle it, the compiled SQL is executed on the driver itself: SQLAlchemy Core takes twice as long as the
database, and a flush of the session takes three times as long, during which SQLite's one write lock is held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from .database.clock import Now
from .database.connection import driver_cursor, translated
from .database.sqlite_lock import take_write_lock
from .lease import Claimed, LeaseEnd
from .models import Status, attempts, contents, emails

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from sqlalchemy.engine import Connection, Dialect, Engine

    from .models import Content, Email

SETTLED = ("status", "reply", "failure", "tries", "send_at", "finished_at")
ATTEMPT = ("email_id", "worker", "started_at", "seconds", "outcome", "code", "enhanced", "reply")


class Prepared:
    """*statement*, compiled for *engine*'s driver; each of its parameters must be a ``bindparam`` with a name.

    The engine's ``schema_translate_map`` is applied here, as Core does for every other statement.
    """

    def __init__(self, statement: sa.ClauseElement, engine: Engine) -> None:
        dialect, schemas = engine.dialect, engine.get_execution_options().get("schema_translate_map")
        compiled: Any = statement.compile(dialect=dialect, schema_translate_map=schemas, render_schema_translate=bool(schemas))
        self._sql = str(compiled)
        # Parameters that have a value of their own, such as SQLite's Now().
        self._own: dict[str, Callable[[], Any]] = {name: bind.callable for name, bind in compiled.binds.items() if bind.callable}
        # The order of positional parameters; None for a driver with named ones.
        self._order: list[str] | None = compiled.positiontup
        processors = {name: bind.type.dialect_impl(dialect).bind_processor(dialect) for name, bind in compiled.binds.items()}
        self._processors: dict[str, Callable[[Any], Any]] = {name: process for name, process in processors.items() if process}

    def execute(self, cursor: Any, values: Mapping[str, Any]) -> int:
        """Execute it on the driver's *cursor*, and return how many rows it changed; raises the driver's own errors."""
        row = dict(values)
        for name, value in self._own.items():
            row[name] = value()
        for name, process in self._processors.items():
            row[name] = process(row[name])
        cursor.execute(self._sql, row if self._order is None else [row[name] for name in self._order])
        changed: int = cursor.rowcount
        return changed


# Insert


class Insert:
    """The INSERT of one row into *table*, in the SQL of *engine*'s database; that sets its id, and each time that was not given."""

    def __init__(self, table: sa.Table, engine: Engine) -> None:
        self._names = [column.name for column in table.columns]
        returned = [table.c.id, *(column for column in table.columns if _is_now(column))]
        statement = sa.insert(table).values({column.name: _value(column) for column in table.columns if not column.primary_key})
        self._prepared = Prepared(statement.returning(*returned), engine)
        self._returned = [(column.name, _reader(column, engine.dialect)) for column in returned]

    def execute(self, cursor: Any, row: Content | Email) -> None:
        """Insert *row* with what it was given, and set on it what the database has set."""
        given = vars(row)
        self._prepared.execute(cursor, {name: given.get(name) for name in self._names})
        for (name, read), value in zip(self._returned, cursor.fetchone(), strict=True):
            setattr(row, name, read(value))


def _is_now(column: sa.Column[Any]) -> bool:
    return isinstance(column.default, sa.ColumnDefault) and isinstance(column.default.arg, Now)


def _value(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    given = sa.bindparam(column.name, type_=column.type)
    return sa.func.coalesce(given, Now()) if _is_now(column) else given


def _reader(column: sa.Column[Any], dialect: Dialect) -> Callable[[Any], Any]:
    """Return the function that makes a value of *column* out of the driver's."""
    process: Callable[[Any], Any] | None = column.type.dialect_impl(dialect).result_processor(dialect, None)
    return process or (lambda value: value)


class InsertStatements:
    """Insert a message and its emails, in the SQL of *engine*'s database."""

    def __init__(self, engine: Engine) -> None:
        self._content, self._email = Insert(contents, engine), Insert(emails, engine)

    def execute(self, connection: Connection, new: list[Email]) -> None:
        """Insert *new*, which share one message, in the transaction on *connection*, and set their ids and times."""
        content = new[0].content
        with translated(connection):
            take_write_lock(connection)
            with driver_cursor(connection) as cursor:
                self._content.execute(cursor, content)
                for email in new:
                    email.content_id = content.id
                    self._email.execute(cursor, email)


# Claim


def due_statement(dialect: Dialect, *, lock: bool = False) -> sa.Select[int]:
    """Return the SELECT of the smallest priority with a due email; with *lock*, one that no other worker is claiming.

    It walks from one priority to the next and looks in each for the oldest email: two searches of the index for a priority,
    however many emails it has that are scheduled for later.
    """
    queued = is_queued(dialect)
    first = sa.select(emails.c.priority).where(queued).order_by(emails.c.priority).limit(1)
    # In a subquery, because SQLite takes no LIMIT in one part of a UNION.
    level = sa.select(first.subquery().c.priority).cte("level", recursive=True, nesting=True)
    following = first.where(emails.c.priority > level.c.priority).correlate(level).scalar_subquery()
    levels = level.union_all(sa.select(following).where(level.c.priority.is_not(None)))
    oldest = _due_at(levels.c.priority, dialect).limit(1).correlate(levels)
    if lock:
        oldest = oldest.with_for_update(skip_locked=True)
    # Not EXISTS, which PostgreSQL may turn into a join with every scheduled email.
    return sa.select(levels.c.priority).where(oldest.scalar_subquery().is_not(None)).limit(1)


def next_statement(dialect: Dialect) -> sa.Select[datetime, datetime]:
    """Return the SELECT of the due email that is claimed first: its ``due_since`` and its ``send_at``."""
    due = _due_at(due_statement(dialect).scalar_subquery(), dialect).limit(1).scalar_subquery()
    return sa.select(emails.c.due_since, emails.c.send_at).where(emails.c.id == due)


def claim_statement(dialect: Dialect) -> sa.UpdateBase:
    """Return the UPDATE that leases due emails of one priority, the most urgent, and returns them as rows of ``Claimed``.

    Its parameters are *limit*, and *token* for the lease. Each row ends with the database's time.
    """
    priority = due_statement(dialect, lock=True).scalar_subquery()
    # In a subquery, so that PostgreSQL does not know the limit. Otherwise, while its statistics are old and say that few emails are
    # queued, it would read and sort all that are.
    limit = sa.select(sa.bindparam("limit", type_=sa.Integer)).scalar_subquery()
    due = _due_at(priority, dialect).limit(limit).with_for_update(skip_locked=True)
    chosen: sa.ColumnElement[bool] = emails.c.id.in_(due)
    if dialect.name == "postgresql":
        # It may run a plain subquery more than once and then take more than the limit, or join it with the whole table.
        chosen = emails.c.id == sa.any_(sa.func.array(due.scalar_subquery()))
    lease: dict[str, Any] = {"lease": sa.bindparam("token"), "lease_until": LeaseEnd()}
    columns = (emails.c[name] for name in Claimed.__slots__)
    claim = sa.update(emails).where(chosen).values(status=Status.SENDING.value, **lease)
    return claim.returning(*columns, Now().label("now"))


def _due_at(priority: sa.ColumnElement[int], dialect: Dialect) -> sa.Select[int]:
    due = sa.select(emails.c.id).where(is_queued(dialect), emails.c.priority == priority, emails.c.send_at <= Now())
    # The order also keeps PostgreSQL from reading the whole table for the first row.
    return due.order_by(emails.c.send_at, emails.c.id)


def is_queued(dialect: Dialect) -> sa.ColumnElement[bool]:
    """Return the condition that an email is queued, in the words for which the database uses the index of queued emails."""
    # The status has to be a literal: only then does the database use the partial index.
    queued: sa.ColumnElement[bool] = emails.c.status == sa.literal_column(f"'{Status.QUEUED}'")
    # Without this hint SQLite picks the index by status, and reads the whole backlog for each claim.
    return sa.func.likely(queued) if dialect.name == "sqlite" else queued


# A message that is too large comes without its source, so that the log can name the request that it comes from.
_IS_LOADED = contents.c.size <= sa.bindparam("max_size")
LOAD_MESSAGES = sa.select(
    contents.c.id,
    contents.c.sender,
    sa.case((_IS_LOADED, contents.c.source)).label("source"),
    contents.c.secret,
    contents.c.request_id,
    contents.c.traceparent,
    _IS_LOADED.label("is_loaded"),
).where(contents.c.id.in_(sa.bindparam("ids", expanding=True)))


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
        with driver_cursor(connection) as cursor:
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
