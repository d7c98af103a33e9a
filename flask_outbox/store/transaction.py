"""Whether an email joins the caller's transaction, and what happens when that transaction ends.

An email that is enqueued while the session has work in progress becomes part of that work. When the outermost
transaction ends, this module tells a commit (ring the bell) from a rollback (nothing to do) and from a session
that was thrown away without either (a bug in the caller, reported loudly).
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransactionOrigin

from .models import Email

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_mail import Message
    from sqlalchemy.engine import Connection, Engine
    from sqlalchemy.orm import SessionTransaction, scoped_session

log = logging.getLogger(__name__)

KEY = __name__
# Statements that leave nothing behind, a savepoint by itself among them.
READ = re.compile(
    r"(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*(?:SELECT|WITH|VALUES|TABLE|PRAGMA|EXPLAIN|SHOW|SAVEPOINT|RELEASE|ROLLBACK)\b",
    re.IGNORECASE | re.DOTALL,
)
# But these do: a lock that its caller counts on, and a WITH that changes rows.
HOLD = re.compile(
    r"\bFOR\s+(?:NO\s+KEY\s+|KEY\s+)?(?:UPDATE|SHARE)\b|\b(?:INSERT|MERGE)\s+INTO\b|\bDELETE\s+FROM\b|\bUPDATE\b[^;]*?\bSET\b",
    re.IGNORECASE,
)


@dataclass
class Entry:
    """One enqueued message: its emails, and when the first of them is due."""

    message: Message
    emails: list[Email]
    first_at: datetime

    @property
    def is_stored(self) -> bool:
        """Return whether its emails are part of the transaction; a rolled-back savepoint has made them transient."""
        return not any(sa.inspect(email).transient for email in self.emails)


@dataclass
class Joined:
    """What waits for the end of one session's transaction, and how that has ended."""

    entries: list[Entry] = field(default_factory=list)
    committed: bool = False
    rolled_back: SessionTransaction | None = None

    def forget_savepoint(self, savepoint: SessionTransaction) -> None:
        """Forget what was enqueued in *savepoint*, where that has been rolled back."""
        if savepoint is self.rolled_back:
            self.entries = [entry for entry in self.entries if entry.is_stored]

    @property
    def messages(self) -> list[Message]:
        """Return the messages whose emails have been committed."""
        return [entry.message for entry in self.entries]

    @property
    def is_due(self) -> bool:
        """Return whether the bell should be rung; what is due only later is found by the sweep."""
        soon = datetime.now(UTC) + timedelta(seconds=1)
        return any(entry.first_at <= soon for entry in self.entries)


def join(session: Session, emails: list[Email], message: Message) -> None:
    """Remember what to do for *emails*, which were just made, when the session's transaction ends."""
    joined = session.info.setdefault(KEY, Joined())
    joined.entries.append(Entry(message, emails, min(email.send_at for email in emails)))


def is_in_progress(session: Session) -> bool:
    """Return whether *session* has anything that a commit of ours would commit along.

    That is objects added, changed or deleted, an explicit ``begin()``, a savepoint, or a statement that was executed
    in this transaction and was no plain SELECT, by whichever way it went.
    """
    # An email that has joined says so at once: session.new is made anew at each look, which would grow with the square.
    joined: Joined | None = session.info.get(KEY)
    if joined is not None and joined.entries:
        return True
    if session.new or session.deleted or any(session.is_modified(one) for one in session.dirty):
        return True
    transaction = session.get_transaction()
    if transaction is None:
        return False
    if transaction.origin is SessionTransactionOrigin.BEGIN or session.in_nested_transaction():
        return True
    connection = session.connection(bind_arguments={"mapper": sa.inspect(Email)})
    return connection.info.get(KEY) is connection.get_transaction()


def watch_engine(engine: Engine) -> None:
    """Notice the statements that write, and make savepoints of SQLite part of their transaction."""
    if event.contains(engine, "after_cursor_execute", _note_write):
        return
    event.listen(engine, "after_cursor_execute", _note_write)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "savepoint", _begin_before_savepoint)


def watch_session(session: scoped_session[Any], on_commit: Callable[[Joined], None]) -> None:
    """Call *on_commit* with what has joined, after the outermost transaction of a session has been committed."""

    def after_transaction_end(one: Session, transaction: SessionTransaction) -> None:
        joined: Joined | None = one.info.get(KEY)
        if joined is None:
            return
        if transaction.parent is not None:
            joined.forget_savepoint(transaction)
            return
        del one.info[KEY]
        if not joined.entries or joined.rolled_back is transaction:
            return
        if joined.committed:
            on_commit(joined)
        else:
            log.error(
                "mail: %d emails joined a transaction that was never committed, so they do not exist: "
                "call db.session.commit() after send_email(), or call send_email() with nothing pending",
                sum(len(entry.emails) for entry in joined.entries),
            )

    event.listen(session, "after_commit", _after_commit)
    event.listen(session, "after_rollback", _after_rollback)
    event.listen(session, "after_transaction_end", after_transaction_end)


def _after_commit(session: Session) -> None:
    # It fires when a savepoint is released, too.
    if KEY in session.info and not session.in_nested_transaction():
        session.info[KEY].committed = True


def _after_rollback(session: Session) -> None:
    if KEY in session.info:
        session.info[KEY].rolled_back = session.get_nested_transaction() or session.get_transaction()


def _note_write(connection: Connection, cursor: Any, statement: str, *_: Any) -> None:
    if not READ.match(statement) or HOLD.search(statement):
        connection.info[KEY] = connection.get_transaction()


def _begin_before_savepoint(connection: Connection, name: str) -> None:
    """Begin the transaction that a savepoint is to be part of.

    Python's driver begins one only before it writes; a savepoint opened before that would be the transaction itself,
    so that releasing it commits, and a later rollback of everything would not undo it.
    """
    driver: Any = connection.connection.dbapi_connection
    if not driver.in_transaction:
        driver.execute("BEGIN IMMEDIATE")
