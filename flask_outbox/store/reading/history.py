"""The history of one email, to answer "did she get it?": what has happened, and what happens next."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import object_session

from ..models import Attempt, Audit, Status, audited

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session

    from ..models import Email

NEXT = {
    Status.SENT: "the server has accepted it; there is nothing more to do",
    Status.HELD: "flask mail retry queues it again",
    Status.FAILED: "not tried again; flask mail retry queues it again",
    Status.EXPIRED: "too late to be useful; flask mail retry sends it nevertheless",
    Status.CANCELLED: "not sent; flask mail retry queues it again",
}
OUTCOMES = {
    "sent": "Accepted by the mail server",
    "refused": "Refused by the mail server",
    "deferred": "Put off by the mail server",
    "uncertain": "The connection broke before the mail server had answered",
    "throttled": "The mail server asked us to slow down",
    "unavailable": "The mail server could not be used",
    "held": "Held back",
}
DONE = {"read": "read the message", "retry": "queued it again", "cancel": "cancelled it"}
# The words for the email that was copied, and for the copy; the other one's id follows.
COPIED = {
    "send again": ("sent it again, as", "sent this again: it is a copy of"),
    "send to me": ("sent a copy to themselves, as", "sent this to themselves: it is a copy of"),
}
# A throttled email may have thousands of attempts.
MOST_ATTEMPTS, MOST_ACTIONS = 200, 200


class Event(NamedTuple):
    """Something that has happened to an email: when, *what* in words, and what the server *said*.

    *kind* is ``enqueued``, ``operator``, or the outcome of an attempt. An attempt took so many *seconds*, by a *worker*. *other* is
    the id of another email, with which the sentence ends.
    """

    at: datetime
    what: str
    kind: str
    said: str = ""
    seconds: float | None = None
    worker: str = ""
    other: int | None = None


def read_events(session: Session, email: Email) -> list[Event]:
    """Return what has happened to *email*, the oldest first: the newest MOST_ATTEMPTS attempts and MOST_ACTIONS actions."""
    events = [_enqueued(email)]
    events += [_attempted(attempt) for attempt in _newest_attempts(session, email)]
    events += _read_actions(session, email)
    return sorted(events, key=lambda event: event.at)


def timeline(email: Email) -> list[tuple[datetime, str]]:
    """Return the events of *email* as pairs of a time and a sentence: the oldest first, and last what happens next."""
    status = Status(email.status)
    session = object_session(email)
    events = [(email.created_at, _lower(_enqueued(email).what))]
    events += [(attempt.started_at, _describe(attempt)) for attempt in email.attempts]
    if session is not None:
        actions = _read_actions(session, email)
        events += [(done.at, f"{done.what} email {done.other}" if done.other else done.what) for done in actions]
        events.sort(key=lambda event: event[0])
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


def _newest_attempts(session: Session, email: Email) -> Sequence[Attempt]:
    newest = sa.select(Attempt).where(Attempt.email_id == email.id).order_by(Attempt.id.desc())
    return session.scalars(newest.limit(MOST_ATTEMPTS)).all()[::-1]


def _enqueued(email: Email) -> Event:
    origin, request_id = email.content.origin, email.content.request_id
    by = f" by {origin}" if origin else ""
    return Event(email.created_at, f"Put into the outbox{by}{f', request {request_id}' if request_id else ''}", "enqueued")


def _attempted(attempt: Attempt) -> Event:
    what = OUTCOMES.get(attempt.outcome, attempt.outcome)
    return Event(attempt.started_at, what, attempt.outcome, said_by(attempt), attempt.seconds, attempt.worker)


def said_by(attempt: Attempt) -> str:
    """Return the code and the text of the server's reply."""
    return " ".join(str(word) for word in (attempt.code, attempt.reply) if word)


def _read_actions(session: Session, email: Email) -> list[Event]:
    """Return what operators did with *email*, the newest MOST_ACTIONS."""
    own = sa.select(audited.c.audit_id).where(audited.c.email_id == email.id).order_by(audited.c.audit_id.desc())
    found = session.scalars(sa.select(Audit).where(Audit.id.in_(own.limit(MOST_ACTIONS))).order_by(Audit.id)).all()
    copied = [audit.id for audit in found if audit.action in COPIED]
    both = sa.select(audited.c.audit_id, audited.c.email_id).where(audited.c.audit_id.in_(copied), audited.c.email_id != email.id)
    others = {row.audit_id: row.email_id for row in session.execute(both)}
    return [_acted(audit, email.id, others.get(audit.id)) for audit in found]


def _acted(audit: Audit, email_id: int, other: int | None) -> Event:
    if other is None:
        what = DONE.get(audit.action, f"did this: {audit.action}" + (f" ({audit.detail})" if audit.detail else ""))
    else:
        what = COPIED[audit.action][other < email_id]
    return Event(audit.at, f"{audit.actor} {what}", "operator", other=other)


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _describe(attempt: Attempt) -> str:
    return f"{attempt.outcome} after {attempt.seconds:.2f} s by {attempt.worker}: {said_by(attempt)}"
