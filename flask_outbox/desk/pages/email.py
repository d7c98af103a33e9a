"""The page of one email: did it arrive, what has happened to it, what comes next, what one can do, and its message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import abort, render_template, request, url_for

from ...message.reading import ReadMessage
from ...state import current_state
from ...store.models import Priority
from ...store.operations.operator import note_read
from ...store.reading.one import load_source
from ...store.reading.search import quoted
from ..email_state import add_teardown, desk_session, find_email, find_state
from ..rights import Action, current_operator, may, require
from ..viewer import Places, file_response, html_response, make_viewer, source_response

if TYPE_CHECKING:
    from flask import Blueprint, Response
    from flask.typing import ResponseReturnValue

    from ...store.models import Email
    from ..email_state import EmailState
    from ..viewer import Viewer

# A larger id would be an error of the database's driver.
PATH = "/email/<int(max=9223372036854775807):email_id>/"
PRIORITIES = {Priority.URGENT: "urgent", Priority.NORMAL: "normal", Priority.BULK: "bulk"}
NOTICES = {
    Action.RETRY: "Queued again. This page shows what becomes of it.",
    Action.CANCEL: "Cancelled.",
    Action.SEND_AGAIN: "Sent again. This is the new email, and the page shows what becomes of it.",
    Action.SEND_TO_ME: "This is the copy to you. The page shows what becomes of it.",
}
HIDDEN = (
    "This email is secret: it holds what only its recipient may see, such as a link that sets a new password. The desk never shows "
    "it, and it is erased as soon as the email is final."
)
ERASED = "This email was secret, and its message has been erased. Nobody can read it any more."


def add_routes(bp: Blueprint) -> None:
    """Add the page, its state, which it polls, and the parts of the message."""
    add_teardown(bp)
    bp.add_url_rule(PATH, "email", email)
    bp.add_url_rule(f"{PATH}state/", "email_state", state)
    bp.add_url_rule(f"{PATH}html/", "email_html", html)
    bp.add_url_rule(f"{PATH}source/", "email_source", source)
    bp.add_url_rule(f"{PATH}file/<int:number>/", "email_file", file)


def email(email_id: int) -> ResponseReturnValue:
    """Show an email; with ``?show=message`` its message, too."""
    done = request.args.get("done", "")
    return email_page(email_id, notice=next((text for action, text in NOTICES.items() if action.value == done), ""))


def email_page(email_id: int, *, notice: str = "", problem: str = "") -> str:
    """Return the page of an email, with a *notice* of what was done, or the *problem* that prevented it."""
    found = find_state(email_id)
    return render_template(
        "mail_desk/email.html",
        state=found,
        facts=_facts(found.email),
        viewer=_viewer(found) if request.args.get("show") == "message" else None,
        hidden=(ERASED if found.is_erased else HIDDEN) if found.is_hidden else "",
        alike=_alike(found.email),
        may_read=may(Action.READ, found.email),
        notice=notice,
        problem=problem,
    )


def state(email_id: int) -> ResponseReturnValue:
    """Return the part of the page that changes while the email is under way."""
    found = find_state(email_id)
    return render_template("mail_desk/_email_state.html", state=found, alike=_alike(found.email))


def _facts(email: Email) -> list[tuple[str, str, str]]:
    """Return the facts: names, values, and the URL of a search for the emails that share the value."""
    content, priority = email.content, email.priority
    facts = [
        ("To", email.recipient, "to"),
        ("From", content.sender, ""),
        ("Template", email.template, "template"),
        ("Priority", PRIORITIES[Priority(priority)] if priority in PRIORITIES else str(priority), ""),
        ("Key", email.key, "key"),
        ("Message-ID", email.message_id, ""),
        ("Enqueued by", content.origin, ""),
        ("Request", content.request_id, "request"),
    ]
    return [(name, value, _search(field, value) if field else "") for name, value, field in facts if value]


def _alike(email: Email) -> str:
    """Return the URL of the emails that failed for the same reason; empty unless *email* failed."""
    return _search("failure", email.failure) if email.failure else ""


def _search(field: str, value: str) -> str:
    """Return the URL of the outbox page with the emails whose *field* has that *value*."""
    return url_for(".outbox", q=f"{field}:{quoted(value)}")


def _viewer(found: EmailState) -> Viewer | None:
    if found.is_hidden:
        return None
    places = Places(".email", ".email_html", ".email_source", ".email_file", {"email_id": found.email.id}, {"show": "message"})
    return make_viewer(_read(found.email), places)


def html(email_id: int) -> ResponseReturnValue:
    """Return the HTML for the frame."""
    return html_response(_read(find_email(email_id)))


def source(email_id: int) -> ResponseReturnValue:
    """Return the message as it is sent."""
    return source_response(_read(find_email(email_id)))


def file(email_id: int, number: int) -> Response:
    """Return a file of the message."""
    return file_response(_read(find_email(email_id)), number)


def _read(email: Email) -> ReadMessage:
    """Return the message, and record in the audit that the operator reads it; 403 if he may not, 404 if nobody can."""
    require(Action.READ, email)
    session = desk_session()
    found = load_source(session, email)
    if found is None:
        abort(404, HIDDEN)
    # Its transaction would keep SQLite from writing the audit with another connection of a pool of one.
    session.commit()
    note_read(current_state().engine, email.id, current_operator())
    return ReadMessage(found)
