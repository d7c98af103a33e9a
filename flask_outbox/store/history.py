"""The story of one email, for whoever is asked "did she get it?": what happened, and what happens next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .models import Attempt, Email, Status

if TYPE_CHECKING:
    from datetime import datetime

NEXT = {
    Status.SENT: "the server has accepted it; nothing more happens here",
    Status.HELD: "held back by MAIL_ALLOW_TO; flask mail retry has another look",
    Status.FAILED: "it is not tried again; flask mail retry does",
    Status.EXPIRED: "it is not worth sending any more; flask mail retry sends it all the same",
    Status.CANCELLED: "it is not sent; flask mail retry does",
}


def timeline(email: Email) -> list[tuple[datetime, str]]:
    """Return what happened to *email*, oldest first, and last what happens next, as pairs of a time and a sentence."""
    status = Status(email.status)
    story = [(email.created_at, "put into the outbox")]
    story += [(one.started_at, _tell(one)) for one in email.attempts]
    if status is Status.QUEUED:
        story.append((email.send_at, "next try" if email.attempts else "to be sent"))
        if email.expires_at:
            story.append((email.expires_at, "after this it is not worth sending any more"))
    elif status is Status.SENDING:
        story.append((email.lease_until or email.send_at, "a worker has it; if that one dies, it goes out again after this time"))
    else:
        story.append((email.finished_at or email.created_at, f"{status.value}: {NEXT[status]}"))
    return story


def _tell(one: Attempt) -> str:
    said = " ".join(str(word) for word in (one.code, one.reply) if word)
    return f"{one.outcome} after {one.seconds:.2f} s by {one.worker}: {said}"
