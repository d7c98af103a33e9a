"""An operator's actions: cancel, retry, purge. Each is safe while workers are delivering, and while another operator acts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ...events import facts
from ..database.clock import database_now
from ..database.sqlite_lock import take_write_lock
from ..models import Status, attempts, contents, emails
from ..statements import erase_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import timedelta

    from sqlalchemy.engine import Connection, Engine

    # What records an action in the transaction that does it.
    Note = Callable[[Connection], object]

log = logging.getLogger(__name__)

# Most rows that purge deletes in one transaction: it then holds SQLite's write lock for 20 ms.
PURGE_CHUNK = 500
FINISHED = [Status.SENT.value, Status.FAILED.value, Status.EXPIRED.value, Status.CANCELLED.value]
WAITING = [Status.QUEUED.value, Status.HELD.value]
RETRIABLE = [Status.FAILED.value, Status.EXPIRED.value, Status.CANCELLED.value, Status.HELD.value]


class NotPossible(Exception):  # noqa: N818 - not an error of ours, but an answer to the operator
    """The action is impossible for this email; the text tells the operator why."""


def cancel(engine: Engine, email_id: int, note: Note | None = None) -> None:
    """Cancel a queued or held email, and call *note* in the same transaction; raise NotPossible for any other.

    The UPDATE checks the status, so either this or a worker's claim succeeds, never both.
    """
    with engine.begin() as connection:
        _cancel(connection, email_id)
        if note:
            note(connection)
    log.info("email %d was cancelled by the operator", email_id, extra=facts("cancelled", email_id))


def _cancel(connection: Connection, email_id: int) -> None:
    waiting = emails.c.id == email_id, emails.c.status.in_(WAITING)
    if not connection.execute(sa.update(emails).where(*waiting).values(_cancelled(connection))).rowcount:
        raise NotPossible(_why_not(connection, email_id, "cancelled"))
    _erase_secret_of(connection, email_id)


def retry(engine: Engine, email_id: int, note: Note | None = None) -> None:
    """Queue a failed, expired, cancelled or held email again, and call *note* in the same transaction.

    Raises NotPossible for any other email.
    """
    with engine.begin() as connection:
        if not _retry(connection, emails.c.id == email_id):
            raise NotPossible(_why_not(connection, email_id, "retried"))
        if note:
            note(connection)
    log.info("email %d was queued again by the operator", email_id, extra=facts("retried", email_id))


def purge(engine: Engine, older_than: timedelta) -> Iterator[int]:
    """Delete emails that reached their final status *older_than* ago, with their attempts; yield each transaction's count."""
    while count := _purge_chunk(engine, older_than):
        log.info("%d emails were deleted by the operator", count, extra=facts("purged"))
        yield count


def _purge_chunk(engine: Engine, older_than: timedelta) -> int:
    """Delete up to PURGE_CHUNK emails in one transaction, and return how many.

    The rows are locked first: otherwise a retry could come between the deletes, and the email would lose its attempts.
    """
    with engine.begin() as connection:
        take_write_lock(connection)
        finished = emails.c.status.in_(FINISHED), emails.c.finished_at < database_now(connection) - older_than
        chunk = sa.select(emails.c.id, emails.c.content_id).where(*finished).limit(PURGE_CHUNK)
        return len(_delete(connection, connection.execute(chunk.with_for_update(skip_locked=True)).all()))


# What changes the emails that meet a condition, in the caller's transaction; each returns their ids. The emails are locked first,
# in one order: two operators who act on the same ones wait for each other.


def retry_where(connection: Connection, which: sa.ColumnElement[bool]) -> list[int]:
    """Queue the failed, expired, cancelled and held emails among *which* again."""
    ids = [row.id for row in _lock(connection, which, is_retriable())]
    _retry(connection, emails.c.id.in_(ids))
    return ids


def cancel_where(connection: Connection, which: sa.ColumnElement[bool]) -> list[int]:
    """Cancel the queued and held emails among *which*."""
    rows = _lock(connection, which, emails.c.status.in_(WAITING))
    ids = [row.id for row in rows]
    connection.execute(sa.update(emails).where(emails.c.id.in_(ids)).values(_cancelled(connection)))
    secret = sa.select(contents.c.id).where(contents.c.id.in_({row.content_id for row in rows}), contents.c.secret)
    for content_id in connection.scalars(secret.order_by(contents.c.id)).all():
        erase_secret(connection, content_id)
    return ids


def purge_where(connection: Connection, which: sa.ColumnElement[bool]) -> list[int]:
    """Delete the finished emails among *which*, with their attempts."""
    return _delete(connection, _lock(connection, which, emails.c.status.in_(FINISHED)))


def is_retriable() -> sa.ColumnElement[bool]:
    """Return whether an email can be queued again: it is not on its way, and its body has not been erased."""
    not_erased = sa.exists().where(contents.c.id == emails.c.content_id, contents.c.source.is_not(None))
    return sa.and_(emails.c.status.in_(RETRIABLE), not_erased)


def _lock(connection: Connection, *conditions: sa.ColumnElement[bool]) -> Sequence[Any]:
    take_write_lock(connection)
    rows = sa.select(emails.c.id, emails.c.content_id).where(*conditions).order_by(emails.c.id).with_for_update()
    return connection.execute(rows).all()


def _delete(connection: Connection, rows: Sequence[Any]) -> list[int]:
    """Delete the emails of *rows*, which are locked, with their attempts, and the messages that nobody else has got."""
    ids, content_ids = [row.id for row in rows], {row.content_id for row in rows}
    # Two purges that share a message would each leave it to the other.
    connection.execute(sa.select(contents.c.id).where(contents.c.id.in_(content_ids)).order_by(contents.c.id).with_for_update())
    connection.execute(sa.delete(attempts).where(attempts.c.email_id.in_(ids)))
    connection.execute(sa.delete(emails).where(emails.c.id.in_(ids)))
    used = sa.exists().where(emails.c.content_id == contents.c.id)
    connection.execute(sa.delete(contents).where(contents.c.id.in_(content_ids), ~used))
    return ids


def _retry(connection: Connection, which: sa.ColumnElement[bool]) -> int:
    now = database_now(connection)
    again = sa.update(emails).where(which, is_retriable())
    # A new start: the backoff and MAIL_RETRY_FOR begin again, and an expiry in the past is removed. The attempts stay.
    values = {
        "status": Status.QUEUED.value,
        "tries": 0,
        "send_at": now,
        "due_since": now,
        "finished_at": None,
        "failure": None,
        "expires_at": sa.case((emails.c.expires_at < now, None), else_=emails.c.expires_at),
    }
    return connection.execute(again.values(values)).rowcount


def _cancelled(connection: Connection) -> dict[str, Any]:
    return {"status": Status.CANCELLED.value, "finished_at": database_now(connection), "reply": "cancelled by the operator"}


def _erase_secret_of(connection: Connection, email_id: int) -> None:
    erase_secret(connection, connection.scalars(sa.select(emails.c.content_id).where(emails.c.id == email_id)).one())


def _why_not(connection: Connection, email_id: int, action: str) -> str:
    row = connection.execute(
        sa.select(emails.c.status, contents.c.source.is_(None).label("erased"))
        .join_from(emails, contents)
        .where(emails.c.id == email_id)
    ).one_or_none()
    if row is None:
        return f"there is no email {email_id}"
    if row.status == Status.SENDING.value:
        return f"email {email_id} cannot be {action}: a worker is sending it at this moment. Look again in a minute"
    if row.erased:
        return f"email {email_id} cannot be {action}: it was secret, and its body has been erased"
    return f"email {email_id} cannot be {action}: it is {row.status}"
