"""Deliver inside the transaction that a test has joined its sessions to.

A worker has connections of its own, which see nothing of that transaction. So this does on the test's connection, one email
at a time, what a worker does: the same transport, the same decisions, no leases.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.orm import Session

from ..delivery.decision import Fate, Situation, decide
from ..errors import Deferred, Held, Refused, Unavailable
from ..smtp.envelope import Envelope, Reply
from ..smtp.transport import Transport
from ..store.models import Attempt, Email, Status
from .reading import OURS

if TYPE_CHECKING:
    from ..state import MailState

WORKER = "outbox.deliver()"
# A worker's first wait varies around it.
RETRY_AFTER = timedelta(minutes=1)
# Each email is judged by itself: no other one tells whether a refusal speaks of us.
ALONE = Situation(is_batch_over=True, is_alone=True)
STATUS = {Fate.SENT: Status.SENT, Fate.FAILED: Status.FAILED, Fate.RETRY: Status.QUEUED, Fate.HOLD: Status.HELD}
OUTCOME = {Fate.SENT: "sent", Fate.FAILED: "refused", Fate.RETRY: "deferred"}


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
    said = _transmit(email, transport)
    fate = decide(said, ALONE).fate
    email.tries += fate is not Fate.HOLD
    _settle(email, STATUS[fate], f"{said.code or ''} {said.reply}".strip())
    if fate is Fate.HOLD:
        return
    session.add(
        Attempt(
            email_id=email.id,
            started_at=now,
            seconds=time.monotonic() - begun,
            worker=WORKER,
            outcome="uncertain" if isinstance(said, Deferred) and said.uncertain else OUTCOME[fate],
            code=said.code,
            enhanced=said.enhanced,
            reply=said.reply,
        )
    )


def _transmit(email: Email, transport: Transport | None) -> Reply | Refused | Deferred | Held:
    if transport is None:
        return Reply(250, "not transmitted: MAIL_SUPPRESS_SEND is on")
    try:
        return transport.transmit(Envelope(email.content.sender, email.recipient, email.content.source or b""))
    except (Refused, Deferred, Held) as error:
        return error


def _settle(email: Email, status: Status, reply: str) -> None:
    email.status, email.reply = status.value, reply
    if status.is_final:
        email.finished_at = datetime.now(UTC)
    elif status is Status.QUEUED:
        email.send_at = datetime.now(UTC) + RETRY_AFTER
