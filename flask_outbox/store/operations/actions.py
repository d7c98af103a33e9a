"""An operator's actions: cancel, retry, purge. Each is safe while workers are delivering, and while another operator acts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ...events import facts
from ..database.clock import database_now
from ..database.sqlite_lock import take_write_lock
from ..models import Status, attempts, contents, emails
from ..statements import erase_secret

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from sqlalchemy.engine import Connection, Engine

log = logging.getLogger(__name__)

# Most rows that purge deletes in one transaction: it then holds SQLite's write lock for 20 ms.
PURGE_CHUNK = 500
FINISHED = [Status.SENT.value, Status.FAILED.value, Status.EXPIRED.value, Status.CANCELLED.value]
RETRIABLE = [Status.FAILED.value, Status.EXPIRED.value, Status.CANCELLED.value, Status.HELD.value]


class NotPossible(Exception):  # noqa: N818 - not an error of ours, but an answer to the operator
    """The action is impossible for this email; the text tells the operator why."""


def cancel(engine: Engine, email_id: int) -> None:
    """Cancel a queued or held email; raise NotPossible for any other.

    The UPDATE checks the status, so either this or a worker's claim succeeds, never both.
    """
    with engine.begin() as connection:
        _cancel(connection, email_id)
    log.info("email %d was cancelled by the operator", email_id, extra=facts("cancelled", email_id))


def _cancel(connection: Connection, email_id: int) -> None:
    waiting = emails.c.id == email_id, emails.c.status.in_([Status.QUEUED.value, Status.HELD.value])
    now = database_now(connection)
    values = {"status": Status.CANCELLED.value, "finished_at": now, "reply": "cancelled by the operator"}
    if connection.execute(sa.update(emails).where(*waiting).values(values)).rowcount:
        _erase_secret_of(connection, email_id)
        return
    raise NotPossible(_why_not(connection, email_id, "cancelled"))


def retry(engine: Engine, email_id: int) -> None:
    """Queue a failed, expired, cancelled or held email again; raise NotPossible for any other."""
    with engine.begin() as connection:
        if not _retry(connection, emails.c.id == email_id):
            raise NotPossible(_why_not(connection, email_id, "retried"))
    log.info("email %d was queued again by the operator", email_id, extra=facts("retried", email_id))


def retry_all(engine: Engine, status: Status) -> int:
    """Queue every email with *status* again, and return how many."""
    with engine.begin() as connection:
        number = _retry(connection, emails.c.status == status.value)
    log.info("%d %s emails were queued again by the operator", number, status, extra=facts("retried"))
    return number


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
        rows = connection.execute(chunk.with_for_update(skip_locked=True)).all()
        ids, content_ids = [row.id for row in rows], {row.content_id for row in rows}
        # Two purges that share a message would each leave it to the other.
        connection.execute(sa.select(contents.c.id).where(contents.c.id.in_(content_ids)).order_by(contents.c.id).with_for_update())
        connection.execute(sa.delete(attempts).where(attempts.c.email_id.in_(ids)))
        connection.execute(sa.delete(emails).where(emails.c.id.in_(ids)))
        used = sa.exists().where(emails.c.content_id == contents.c.id)
        connection.execute(sa.delete(contents).where(contents.c.id.in_(content_ids), ~used))
    return len(ids)


def _retry(connection: Connection, which: sa.ColumnElement[bool]) -> int:
    now = database_now(connection)
    not_erased = sa.exists().where(contents.c.id == emails.c.content_id, contents.c.source.is_not(None))
    again = sa.update(emails).where(which, emails.c.status.in_(RETRIABLE), not_erased)
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
