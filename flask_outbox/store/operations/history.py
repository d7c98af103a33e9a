"""The history of one email, to answer "did she get it?": what has happened, and what happens next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..models import Attempt, Email, Status

if TYPE_CHECKING:
    from datetime import datetime

NEXT = {
    Status.SENT: "the server has accepted it; there is nothing more to do",
    Status.HELD: "flask mail retry queues it again",
    Status.FAILED: "not tried again; flask mail retry queues it again",
    Status.EXPIRED: "too late to be useful; flask mail retry sends it nevertheless",
    Status.CANCELLED: "not sent; flask mail retry queues it again",
}


def timeline(email: Email) -> list[tuple[datetime, str]]:
    """Return the events of *email* as pairs of a time and a sentence: the oldest first, and last what happens next."""
    status = Status(email.status)
    events = [(email.created_at, "put into the outbox")]
    events += [(attempt.started_at, _describe(attempt)) for attempt in email.attempts]
    if status is Status.QUEUED:
        events.append((email.send_at, "next try" if email.attempts else "to be sent"))
        if email.expires_at:
            events.append((email.expires_at, "expires"))
    elif status is Status.SENDING:
        events.append(
            (email.lease_until or email.send_at, "a worker is sending it; if that worker dies, another takes over at this time")
        )
    else:
        # Nothing was transmitted, so no attempt says why.
        reason = f"{email.reply}; " if status is Status.HELD and email.reply else ""
        events.append((email.finished_at or email.created_at, f"{status.value}: {reason}{NEXT[status]}"))
    return events


def _describe(attempt: Attempt) -> str:
    said = " ".join(str(word) for word in (attempt.code, attempt.reply) if word)
    return f"{attempt.outcome} after {attempt.seconds:.2f} s by {attempt.worker}: {said}"
