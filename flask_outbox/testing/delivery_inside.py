"""Deliver inside the transaction that a test has joined its sessions to.

A worker has connections of its own, which see nothing of that transaction. So this does on the test's connection, one email
at a time, what a worker does: the same transport, the same outcomes, no leases.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.orm import Session

from ..errors import Deferred, Held, Refused, TransmissionError, Unavailable
from ..smtp.conversation import Envelope
from ..smtp.transport import Transport
from ..store.models import Attempt, Email, Status
from .reading import OURS

if TYPE_CHECKING:
    from ..state import MailState

WORKER = "outbox.deliver()"
# A worker's first wait varies around it.
RETRY_AFTER = timedelta(minutes=1)


def deliver_inside(connection: sa.Connection, state: MailState) -> None:
    """Deliver what is due as *connection* sees it, until nothing is or the server cannot be used."""
    transport = None if state.settings.suppress_send else Transport(state.smtp)
    due = sa.select(Email).where(Email.status == Status.QUEUED.value, Email.send_at <= datetime.now(UTC))
    with Session(connection, join_transaction_mode="create_savepoint", info={OURS: True}) as session:
        try:
            for email in session.scalars(due.order_by(Email.priority, Email.send_at, Email.id)).all():
                _deliver(session, email, transport)
        except Unavailable:
            pass  # what is left stays queued, as in a worker
        finally:
            if transport is not None:
                transport.close()
            session.commit()


def _deliver(session: Session, email: Email, transport: Transport | None) -> None:
    now, begun = datetime.now(UTC), time.monotonic()
    if email.expires_at is not None and email.expires_at <= now:
        _settle(email, Status.EXPIRED, "past its expires_at before it could be sent")
        return
    code: int | None = 250
    reply = "not transmitted: MAIL_SUPPRESS_SEND is on"
    outcome, status = "sent", Status.SENT
    try:
        if transport is not None:
            source = email.content.source or b""
            code, reply = transport.transmit(Envelope(email.content.sender, email.recipient, source))
    except Held as error:
        _settle(email, Status.HELD, error.reply)
        return
    except (Refused, Deferred) as error:
        outcome, status = _fate(error)
        code, reply = error.code, error.reply
    email.tries += 1
    _settle(email, status, f"{code or ''} {reply}".strip())
    enhanced = TransmissionError(reply).enhanced
    session.add(
        Attempt(
            email_id=email.id,
            started_at=now,
            seconds=time.monotonic() - begun,
            worker=WORKER,
            outcome=outcome,
            code=code,
            enhanced=enhanced,
            reply=reply,
        )
    )


def _fate(error: Refused | Deferred) -> tuple[str, Status]:
    if isinstance(error, Refused):
        return "refused", Status.FAILED
    return "uncertain" if error.uncertain else "deferred", Status.QUEUED


def _settle(email: Email, status: Status, reply: str) -> None:
    email.status, email.reply = status.value, reply
    if status.is_final:
        email.finished_at = datetime.now(UTC)
    elif status is Status.QUEUED:
        email.send_at = datetime.now(UTC) + RETRY_AFTER
