"""Answer "did she get the email?" in one sentence, and say what comes next: for every status, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..models import Status

if TYPE_CHECKING:
    from datetime import datetime

    from ..models import Email
    from .history import Event

# Events after which the email waits for its next try.
PUT_OFF = {
    "deferred": "Not yet: the mail server put it off",
    "throttled": "Not yet: the mail server asked us to slow down",
    "uncertain": "Perhaps: the connection broke, before the mail server had answered,",
    "unavailable": "Not yet: the mail server could not be used",
}


class Answer(NamedTuple):
    """*what* happened, the moment *at* which it did, what the server *said*, and what comes *then*, at the moment *due*.

    *mood* is ``good``, ``wait`` or ``bad``. Each of the two sentences reads on with its moment: "It is tried again" in 4 minutes.
    """

    mood: str
    what: str
    at: datetime | None = None
    said: str = ""
    then: str = ""
    due: datetime | None = None


def answer(email: Email, events: list[Event], now: datetime) -> Answer:  # noqa: PLR0911 - one for each status
    """Return the answer about *email*, whose *events* are in order, at the time *now*."""
    match Status(email.status):
        case Status.QUEUED:
            return _answer_queued(email, events, now)
        case Status.SENDING:
            then = "If that worker dies, another one takes over"
            return Answer("wait", "Not yet: a worker is sending it at this moment", then=then, due=email.lease_until)
        case Status.HELD:
            then = "It stays here until somebody retries or cancels it"
            return Answer("wait", "No: it is held back", said=email.reply or "", then=then)
        case Status.SENT:
            return _answer_sent(email)
        case Status.FAILED:
            return _answer_failed(email, events)
        case Status.EXPIRED:
            then = "It is not sent any more, unless somebody retries it"
            return Answer("bad", "No: it could not be sent before it expired", email.expires_at or email.finished_at, then=then)
        case Status.CANCELLED:
            return _answer_cancelled(email, events)


def _answer_queued(email: Email, events: list[Event], now: datetime) -> Answer:
    last = next((event for event in reversed(events) if event.kind != "operator" or event.what.endswith("queued it again")), None)
    is_due = email.send_at <= now
    then, due = ("It is due, and goes out as soon as a worker is free", None) if is_due else ("It goes out", email.send_at)
    if last is not None and last.kind in PUT_OFF:
        return Answer("wait", PUT_OFF[last.kind], last.at, last.said, then if is_due else "It is tried again", due)
    if last is not None and last.kind == "operator":
        return Answer("wait", "Not yet: it was queued again", last.at, then=then, due=due)
    if not is_due:
        return Answer("wait", "Not yet: it is scheduled for later", then=then, due=due)
    return Answer("wait", "Not yet: it waits for a worker since it became due", email.due_since, then=then)


def _answer_sent(email: Email) -> Answer:
    domain = email.recipient.rpartition("@")[2]
    then = f"Whether it landed in the inbox, only the provider of {domain} knows. A bounce would go to {email.content.sender}"
    return Answer("good", "The mail server has accepted it", email.finished_at, email.reply or "", then)


def _answer_failed(email: Email, events: list[Event]) -> Answer:
    last = next((event for event in reversed(events) if event.kind != "operator"), None)
    then = "It is not tried again, unless somebody retries it"
    if last is not None and last.kind in PUT_OFF:
        return Answer("bad", "No: after trying again and again, it was given up", email.finished_at, email.reply or "", then)
    return Answer("bad", "No: the mail server has refused it", email.finished_at, email.reply or "", then)


def _answer_cancelled(email: Email, events: list[Event]) -> Answer:
    by = next((event.what for event in reversed(events) if event.what.endswith("cancelled it")), "an operator cancelled it")
    return Answer("bad", f"No: {by}", email.finished_at, then="It is not sent, unless somebody retries it")
