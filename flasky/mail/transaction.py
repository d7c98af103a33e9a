"""Whether an email joins the caller's transaction, and what happens when that transaction ends.

An email that is enqueued while the session has work in progress becomes part of that work. When the outermost
transaction ends, this module tells a commit (ring the bell) from a rollback (nothing to do) and from a session
that was thrown away without either (a bug in the caller, reported loudly).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransactionOrigin

from flasky.mail.models import Email

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_mail import Message
    from sqlalchemy.engine import Connection, Engine
    from sqlalchemy.orm import SessionTransaction, scoped_session

log = logging.getLogger("flasky.mail")

KEY = "flasky.mail"
LATEST = datetime.max.replace(tzinfo=UTC)
# Statements that leave nothing behind. A SELECT ... FOR UPDATE holds a lock that its caller counts on.
READS = ("SELECT", "PRAGMA", "EXPLAIN", "SHOW")


@dataclass
class Joined:
    """The emails that wait for the end of one session's transaction, with the messages they came from."""

    emails: list[Email] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    first_at: datetime = LATEST
    rolled_back: bool = False

    @property
    def is_due(self) -> bool:
        """Return whether the bell should be rung; what is due only later is found by the sweep."""
        return self.first_at <= datetime.now(UTC) + timedelta(seconds=1)


def join(session: Session, emails: list[Email], message: Message) -> None:
    """Remember what to do for *emails*, which were just made, when the session's transaction ends."""
    joined = session.info.setdefault(KEY, Joined())
    joined.emails += emails
    joined.messages.append(message)
    joined.first_at = min(joined.first_at, *(email.send_at for email in emails))


def is_in_progress(session: Session) -> bool:
    """Return whether *session* has anything that a commit of ours would commit along.

    That is objects added, changed or deleted, an explicit ``begin()``, a savepoint, or a statement that was executed
    in this transaction and was no plain SELECT, by whichever way it went.
    """
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

    def after_soft_rollback(one: Session, previous: SessionTransaction) -> None:
        if KEY in one.info and previous.parent is None:
            one.info[KEY].rolled_back = True

    def after_transaction_end(one: Session, transaction: SessionTransaction) -> None:
        if transaction.parent is not None or KEY not in one.info:
            return
        joined: Joined = one.info.pop(KEY)
        # A rolled-back savepoint leaves its emails transient, a commit leaves the others persistent.
        if any(sa.inspect(email).persistent for email in joined.emails):
            on_commit(joined)
        elif not joined.rolled_back and any(not sa.inspect(email).transient for email in joined.emails):
            log.error(
                "mail: %d emails joined a transaction that was never committed, so they do not exist: "
                "call db.session.commit() after send_email(), or call send_email() with nothing pending",
                len(joined.emails),
            )

    event.listen(session, "after_soft_rollback", after_soft_rollback)
    event.listen(session, "after_transaction_end", after_transaction_end)


def _note_write(connection: Connection, cursor: Any, statement: str, *_: Any) -> None:
    if not statement.lstrip()[:8].upper().startswith(READS) or "FOR UPDATE" in statement:
        connection.info[KEY] = connection.get_transaction()


def _begin_before_savepoint(connection: Connection, name: str) -> None:
    """Begin the transaction that a savepoint is to be part of.

    Python's driver begins one only before it writes; a savepoint opened before that would be the transaction itself,
    so that releasing it commits, and a later rollback of everything would not undo it.
    """
    driver: Any = connection.connection.dbapi_connection
    if not driver.in_transaction:
        driver.execute("BEGIN IMMEDIATE")
