"""What the email page shows of an email's state: the answer, the history, what one can do, and why not more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from flask import abort, g
from sqlalchemy.orm import Session

from ..state import current_state
from ..store.database.clock import database_now
from ..store.models import Status
from ..store.operations.actions import RETRIABLE
from ..store.reading.answer import Answer, answer
from ..store.reading.history import Event, read_events
from ..store.reading.one import is_erased, load_email
from .rights import Action, current_desk, may, require

if TYPE_CHECKING:
    from flask import Blueprint

    from ..store.models import Email

KEY = "_mail_desk_session"
WAITING = {Status.QUEUED.value, Status.HELD.value}
WHY_NOT = {
    Status.SENDING.value: "A worker is sending it, so it can neither be cancelled nor retried at this moment.",
    Status.SENT.value: "It cannot be cancelled: the mail server has it.",
}
ERASED = "It was secret, and its message has been erased, so it cannot be sent again. Let the app write a new one."


class Button(NamedTuple):
    """A button: the *action* that it posts, its *label*, and its *look*, a class of the style sheet."""

    action: str
    label: str
    look: str = ""


@dataclass(frozen=True)
class EmailState:
    """An email, what has happened to it (*events*), the *answer*, and what the current user can do to it (*buttons*).

    *why_not* says why the other actions are impossible. *is_erased* is whether its message was secret and is erased.
    """

    email: Email
    events: list[Event]
    answer: Answer
    buttons: list[Button]
    why_not: str
    is_erased: bool

    @property
    def is_hidden(self) -> bool:
        """Return whether nobody may read the message on the desk."""
        return self.is_erased or self.email.content.secret

    @property
    def is_final(self) -> bool:
        """Return whether nothing happens to it any more by itself."""
        return Status(self.email.status).is_final or self.email.status == Status.HELD.value

    @property
    def version(self) -> str:
        """Return a text that changes when the email does."""
        return f"{self.email.status}.{len(self.events)}.{self.email.send_at.timestamp():.3f}"


def add_teardown(bp: Blueprint) -> None:
    """Close the session of each request."""
    bp.teardown_request(_close)


def desk_session() -> Session:
    """Return the session of this request, on the outbox's database."""
    if KEY not in g:
        setattr(g, KEY, Session(current_state().engine, expire_on_commit=False))
    session: Session = g.get(KEY)
    return session


def _close(_: BaseException | None) -> None:
    session: Session | None = g.pop(KEY, None)
    if session is not None:
        session.close()


def find_email(email_id: int) -> Email:
    """Return an email that the current user may look at; 404 if there is none, 403 if he may not."""
    found = load_email(desk_session(), email_id)
    if found is None:
        abort(404, f"There is no email {email_id}: it was never committed, or it has been purged.")
    require(Action.LOOK, found)
    return found


def find_state(email_id: int) -> EmailState:
    """Return the state of an email, as ``find_email`` finds it."""
    session, found = desk_session(), find_email(email_id)
    erased = is_erased(session, found)
    events = read_events(session, found)
    said = answer(found, events, database_now(session.connection()))
    why_not = ERASED if erased else WHY_NOT.get(found.status, "")
    return EmailState(found, events, said, list(_buttons(found, is_erased=erased)), why_not, erased)


def _buttons(email: Email, *, is_erased: bool) -> list[Button]:
    has_message = not (is_erased or email.content.secret)
    can = {
        Action.RETRY: email.status in RETRIABLE and not is_erased,
        Action.CANCEL: email.status in WAITING,
        Action.SEND_AGAIN: email.status == Status.SENT.value and has_message,
        Action.SEND_TO_ME: has_message and bool(current_desk().to_me()) and may(Action.READ, email),
    }
    buttons = (
        Button(Action.RETRY.value, "Retry", "primary"),
        Button(Action.CANCEL.value, "Cancel", "danger"),
        Button(Action.SEND_AGAIN.value, "Send again"),
        Button(Action.SEND_TO_ME.value, "Send to me"),
    )
    return [button for button in buttons if can[Action(button.action)] and may(Action(button.action), email)]
