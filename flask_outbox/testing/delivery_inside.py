"""Deliver inside the open transaction that a test has joined its sessions to.

A worker has its own connections, which cannot see that transaction. So this module does the work of a worker on the test's
connection, one email at a time: the same transport and the same decisions, without leases.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.orm import Session

from ..delivery.delivery import SUPPRESSED
from ..delivery.settling.decision import Fate, Situation, decide
from ..errors import Deferred, Held, Refused, Unavailable
from ..smtp.envelope import Envelope, Reply
from ..smtp.transport import Transport
from ..store.evidence import THROTTLED
from ..store.models import Attempt, Email, Status
from ..store.outbox import EXPIRED
from .reading import OURS

if TYPE_CHECKING:
    from ..state import MailState

WORKER = "outbox.deliver()"
# The average of a worker's first backoff.
RETRY_AFTER = timedelta(minutes=1)
# Each email is decided alone: no other one shows whether a refusal means us.
ALONE = Situation(is_batch_over=True, is_alone=True)
STATUS = {
    Fate.SENT: Status.SENT,
    Fate.FAILED: Status.FAILED,
    Fate.RETRY: Status.QUEUED,
    Fate.SLOW_DOWN: Status.QUEUED,
    Fate.HOLD: Status.HELD,
}
OUTCOME = {Fate.SENT: "sent", Fate.FAILED: "refused", Fate.RETRY: "deferred", Fate.SLOW_DOWN: THROTTLED}


def deliver_inside(connection: sa.Connection, state: MailState) -> None:
    """Deliver the emails that are due on *connection*; stop if the server cannot be used."""
    transport = None if state.settings.suppress_send else Transport(state.smtp)
    due = sa.select(Email).where(Email.status == Status.QUEUED.value, Email.send_at <= datetime.now(UTC))
    with Session(connection, join_transaction_mode="create_savepoint", info={OURS: True}) as session:
        try:
            for email in session.scalars(due.order_by(Email.priority, Email.send_at, Email.id)).all():
                _deliver(session, email, transport)
        except Unavailable:
            pass  # the rest stays queued, as in a worker
        finally:
            if transport is not None:
                transport.close()
            session.commit()


def _deliver(session: Session, email: Email, transport: Transport | None) -> None:
    now, begun = datetime.now(UTC), time.monotonic()
    if email.expires_at is not None and email.expires_at <= now:
        _settle(email, Status.EXPIRED, EXPIRED)
        return
    said = _transmit(email, transport)
    fate, counts, _ = decide(said, ALONE)
    email.tries += counts
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
        return SUPPRESSED
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
