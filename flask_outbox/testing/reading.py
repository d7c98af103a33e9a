"""Read the outbox as the running test sees it: inside its open transaction, without committing it."""

from __future__ import annotations

import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Session, object_session, selectinload

from ..store.models import Email, contents, emails
from ..store.transaction import WORK, is_in_progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .recorded_email import RecordedEmail

# Marks this module's own sessions in ``Session.info``.
OURS = __name__


class Reading:
    """Finds the connection to read through: that of an open session, of the test's outer transaction, or a new one."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._sessions: weakref.WeakSet[Session] = weakref.WeakSet()
        self._outer: sa.Connection | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Record which sessions use the database inside the block."""
        event.listen(Session, "after_begin", self._after_begin)
        try:
            yield
        finally:
            event.remove(Session, "after_begin", self._after_begin)

    def _after_begin(self, session: Session, transaction: Any, connection: sa.Connection) -> None:
        if connection.engine is not self._engine or OURS in session.info:
            return
        self._sessions.add(session)
        bind = session.get_bind(sa.inspect(Email))
        self._outer = bind if isinstance(bind, sa.Connection) else None

    def add(self, session: Session) -> None:
        """Record *session*, which may not have used the database yet."""
        self._sessions.add(session)

    def end_reading(self) -> None:
        """End the transactions of sessions that have only read, so that their rollback cannot undo a delivery."""
        for session in self._sessions:
            if _is_open(session):
                session.commit()

    @property
    def outer(self) -> sa.Connection | None:
        """Return the connection that the test has joined its sessions to, or None; also None once its transaction has ended."""
        outer = self._outer
        return outer if outer is not None and not outer.closed and outer.in_transaction() else None

    @property
    def is_in_progress(self) -> bool:
        """Return whether a session has work that is not committed."""
        return any(is_in_progress(session) for session in self._sessions)

    def stored(self, recorded: list[RecordedEmail]) -> list[RecordedEmail]:
        """Return the *recorded* emails that still exist, without those rolled back or deleted."""
        states = {email: sa.inspect(email.row) for email in recorded}
        by_session: dict[Session | None, list[RecordedEmail]] = {}
        for email, state in states.items():
            if not (state.pending or state.transient):
                by_session.setdefault(_open_session(email), []).append(email)
        found = {email for session, some in by_session.items() for email in self._found(session, some)}
        return [email for email in recorded if states[email].pending or email in found]

    def _found(self, session: Session | None, recorded: list[RecordedEmail]) -> list[RecordedEmail]:
        wanted = {email.message_id for email in recorded}
        query = sa.select(contents.c.message_id, emails.c.recipient).join_from(emails, contents)
        with self._connection(session) as connection:
            rows = {tuple(row) for row in connection.execute(query.where(contents.c.message_id.in_(wanted)))}
        return [email for email in recorded if (email.message_id, email.recipient) in rows]

    def load(self, recorded: RecordedEmail) -> Email:
        """Return a fresh row, with its attempts; raise LookupError if the email no longer exists."""
        if sa.inspect(recorded.row).pending:
            return recorded.row
        query = (
            sa.select(Email)
            .where(Email.recipient == recorded.recipient, contents.c.message_id == recorded.message_id)
            .join(contents, contents.c.id == Email.content_id)
            .order_by(Email.id.desc())
            .options(selectinload(Email.attempts))
        )
        with self._connection(_open_session(recorded)) as connection, _session_on(connection) as session:
            row = session.scalars(query).first()
            session.expunge_all()
        if row is None:
            message = f"{recorded!r} is not in the database: it was rolled back or deleted"
            raise LookupError(message)
        return row

    @contextmanager
    def _connection(self, session: Session | None) -> Iterator[sa.Connection]:
        session = session or next((other for other in self._sessions if _is_open(other)), None)
        if session is not None:
            yield session.connection(bind_arguments={"mapper": sa.inspect(Email)})
        elif self.outer is not None:
            yield self.outer
        else:
            with self._engine.connect() as connection:
                yield connection


def _session_on(connection: sa.Connection) -> Session:
    # A savepoint would take SQLite's write lock just to read.
    return Session(connection, join_transaction_mode="rollback_only", autoflush=False, info={OURS: True})


def _open_session(recorded: RecordedEmail) -> Session | None:
    session = object_session(recorded.row)
    return session if session is not None and _is_open(session) else None


def _is_open(session: Session) -> bool:
    """Return whether *session* has begun a database transaction; beginning one here would lock tables that the test drops."""
    work = session.info.get(WORK)
    # After a failed flush the transaction is over, whatever in_transaction() says.
    return session.in_transaction() and session.is_active and work is not None and bool(work.connections)
