"""Whether an email joins the caller's transaction, and what happens when that transaction ends.

An email that is enqueued while the session has work in progress becomes part of that work. When the outermost transaction
ends, this module distinguishes a commit (ring the bell), a rollback (do nothing) and a session that was closed without
either (report a bug in the caller).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransactionOrigin

from .models import Email

if TYPE_CHECKING:
    from flask_mail import Message
    from sqlalchemy.engine import Connection, Engine
    from sqlalchemy.orm import ORMExecuteState, SessionTransaction

log = logging.getLogger(__name__)

# https://www.postgresql.org/docs/current/monitoring-stats.html: the counts of this transaction alone, as of now.
CHANGED_ROWS = "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_xact_all_tables"

JOINED, WORK = f"{__name__}.joined", f"{__name__}.work"


class Owner(Protocol):
    """The app's state, which reacts to the end of a transaction with emails."""

    def on_commit(self, joined: Joined) -> None:
        """Ring the bell for what was committed."""

    def on_abandon(self, joined: Joined) -> None:
        """Report emails that were neither committed nor rolled back."""


@dataclass
class Entry:
    """One enqueued message: its emails, and when they are due; None means at once."""

    message: Message
    emails: list[Email]
    send_at: datetime | None

    @property
    def is_stored(self) -> bool:
        """Return whether its emails are part of the transaction; rolling back a savepoint makes them transient."""
        return not any(sa.inspect(email).transient for email in self.emails)


@dataclass
class Joined:
    """The emails that wait for the end of one session's transaction, and how that has ended."""

    owner: Owner
    entries: list[Entry] = field(default_factory=list)
    committed: bool = False
    rolled_back: SessionTransaction | None = None

    def forget_savepoint(self, savepoint: SessionTransaction) -> None:
        """Forget what was enqueued in *savepoint* if that was rolled back."""
        if savepoint is self.rolled_back:
            self.entries = [entry for entry in self.entries if entry.is_stored]

    @property
    def messages(self) -> list[Message]:
        """Return the messages whose emails were committed."""
        return [entry.message for entry in self.entries]

    @property
    def email_ids(self) -> list[int]:
        """Return the ids of the emails, without a query: the commit of a transaction that they have joined has expired them."""
        emails = [email for entry in self.entries for email in entry.emails]
        return [identity[0] if (identity := sa.inspect(email).identity) else email.id for email in emails]

    @property
    def counted(self) -> str:
        """Return how many emails have joined, as words for a log."""
        number = sum(len(entry.emails) for entry in self.entries)
        return "1 email" if number == 1 else f"{number} emails"

    @property
    def is_due(self) -> bool:
        """Return whether to ring the bell; the sweep finds what is due later."""
        soon = datetime.now(UTC) + timedelta(seconds=1)
        return any(entry.send_at is None or entry.send_at <= soon for entry in self.entries)


@dataclass
class Work:
    """What one session's transaction has done so far, according to SQLAlchemy's events.

    *connections* maps each connection of the transaction to its count of changed rows when it joined, or to None if it has none.
    """

    has_written: bool = False
    connections: dict[Connection, int | None] = field(default_factory=dict)


def join(session: Session, entry: Entry, owner: Owner) -> None:
    """Remember *entry*, whose emails were just added to *session*, until its transaction ends, and notify *owner* then."""
    joined = session.info.get(JOINED)
    if joined is None:
        joined = session.info[JOINED] = Joined(owner)
    joined.entries.append(entry)


def is_in_progress(session: Session) -> bool:
    """Return whether *session* has anything that a commit of ours would commit along.

    That is: objects added, changed or deleted, an explicit ``begin()``, a savepoint, or a statement of this transaction that
    has written or locked rows. The last is asked of the database: PostgreSQL gives a transaction an id when it first writes,
    and SQLite counts changed rows. A transaction around a test has an id of its own; inside it, PostgreSQL's count of changed rows
    decides.
    """
    # First, because each access builds session.new anew: in a loop of sends that would take quadratic time.
    joined: Joined | None = session.info.get(JOINED)
    if joined is not None and joined.entries:
        return True
    if session.new or session.deleted or any(session.is_modified(changed) for changed in session.dirty):
        return True
    transaction, work = session.get_transaction(), session.info.get(WORK, Work())
    if transaction is None:
        return False
    is_explicit = transaction.origin is SessionTransactionOrigin.BEGIN or session.in_nested_transaction()
    if is_explicit or work.has_written:
        return True
    return any(_has_written(connection, before) for connection, before in work.connections.items())


def _has_written(connection: Connection, before: int | None) -> bool:
    if connection.closed or connection.invalidated:
        return False
    if before is not None:
        return _changes(connection) != before
    if connection.dialect.name != "postgresql":
        return False
    # https://www.postgresql.org/docs/current/functions-info.html: null until the transaction has written or locked a row.
    return connection.exec_driver_sql("SELECT txid_current_if_assigned()").scalar() is not None


def _changes(connection: Connection) -> int | None:
    """Return how many rows *connection* has changed: on SQLite since it was opened, on PostgreSQL in this transaction."""
    if connection.dialect.name == "postgresql":
        return connection.exec_driver_sql(CHANGED_ROWS).scalar()
    count: int | None = getattr(connection.connection.driver_connection, "total_changes", None)
    return count


def _is_outer(session: Session, connection: Connection) -> bool:
    """Return whether *session* was bound to *connection* itself, inside a transaction that will end after the session's."""
    try:
        return session.get_bind(sa.inspect(Email)) is connection
    except sa.exc.UnboundExecutionError:
        return False


def watch_engine(engine: Engine) -> None:
    """Make savepoints of SQLite part of their transaction."""
    if engine.dialect.name == "sqlite" and not event.contains(engine, "savepoint", _begin_before_savepoint):
        event.listen(engine, "savepoint", _begin_before_savepoint)


def watch_sessions() -> None:
    """Learn how the transactions of all sessions in this process end.

    The listeners are on SQLAlchemy's Session class, so that they also cover a session with which the host or its tests replace
    another. A session without mail costs two dictionary look-ups and, on PostgreSQL, one look at its bind.
    """
    if event.contains(Session, "after_transaction_end", _after_transaction_end):
        return
    event.listen(Session, "after_begin", _after_begin)
    event.listen(Session, "after_flush", _after_flush)
    event.listen(Session, "do_orm_execute", _on_execute)
    event.listen(Session, "after_commit", _after_commit)
    event.listen(Session, "after_rollback", _after_rollback)
    event.listen(Session, "after_transaction_end", _after_transaction_end)


def _after_begin(session: Session, transaction: SessionTransaction, connection: Connection) -> None:
    work: Work = session.info.setdefault(WORK, Work())
    if connection not in work.connections:
        is_counted = connection.dialect.name == "sqlite" or _is_outer(session, connection)
        work.connections[connection] = _changes(connection) if is_counted else None


def _after_flush(session: Session, _: Any) -> None:
    session.info.setdefault(WORK, Work()).has_written = True


def _on_execute(execution: ORMExecuteState) -> None:
    # text() may do anything; is_in_progress() asks the database what it has written.
    if execution.is_insert or execution.is_update or execution.is_delete:
        execution.session.info.setdefault(WORK, Work()).has_written = True


def _after_commit(session: Session) -> None:
    # SQLAlchemy calls it for a released savepoint, too.
    if JOINED in session.info and not session.in_nested_transaction():
        session.info[JOINED].committed = True


def _after_rollback(session: Session) -> None:
    if JOINED in session.info:
        session.info[JOINED].rolled_back = session.get_nested_transaction() or session.get_transaction()


def _after_transaction_end(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is not None:
        if JOINED in session.info:
            session.info[JOINED].forget_savepoint(transaction)
        return
    session.info.pop(WORK, None)
    joined: Joined | None = session.info.pop(JOINED, None)
    if joined is None or not joined.entries or joined.rolled_back is transaction:
        return
    if joined.committed:
        joined.owner.on_commit(joined)
    else:
        joined.owner.on_abandon(joined)


def _begin_before_savepoint(connection: Connection, name: str) -> None:
    """Begin the transaction that a savepoint is to be part of.

    Python's driver begins a transaction only before it writes. A savepoint opened earlier would be the transaction itself:
    releasing it would commit, and a later rollback would not undo it.
    """
    driver: Any = connection.connection.dbapi_connection
    if not driver.in_transaction:
        # Through SQLAlchemy, so that a locked database raises its error, and not the driver's.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
