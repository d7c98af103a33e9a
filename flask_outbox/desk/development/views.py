"""The pages of the development mailbox: the list, each mail, its parts, and delete."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Response, abort, current_app, redirect, render_template, request, url_for

from ...message.reading import ReadMessage
from ...previews.lint import lint_message
from ...state import KEY, MailState
from ..viewer import Places, file_response, html_response, make_viewer, source_response

if TYPE_CHECKING:
    from flask import Blueprint
    from flask.typing import ResponseReturnValue

    from .maildir import Mail, Maildir

MOST_SHOWN = 100


def add_routes(bp: Blueprint) -> None:
    """Add the pages to the blueprint."""
    bp.add_url_rule("/", "index", index)
    bp.add_url_rule("/list", "listing", listing)
    bp.add_url_rule("/delete", "delete_all", delete_all, methods=["POST"])
    bp.add_url_rule("/<mail_id>/", "show", show)
    bp.add_url_rule("/<mail_id>/html", "html", html)
    bp.add_url_rule("/<mail_id>/source", "source", source)
    bp.add_url_rule("/<mail_id>/attachment/<int:number>", "attachment", attachment)
    bp.add_url_rule("/<mail_id>/delete", "delete", delete, methods=["POST"])


def _maildir() -> Maildir:
    blueprint: Any = current_app.blueprints[request.blueprint or ""]
    maildir: Maildir = blueprint.maildir
    return maildir


def _base_url() -> str:
    """Return the base URL of the app's mail; the mailbox may belong to an app without any."""
    state = current_app.extensions.get(KEY)
    return state.base_url if isinstance(state, MailState) else ""


def _mail(mail_id: str) -> Mail:
    found = _maildir().get(mail_id)
    if found is None:
        abort(404, "There is no such mail in the mailbox: it has been deleted.")
    return found


def _list() -> dict[str, Any]:
    search = request.args.get("q", "").strip()
    mails = _maildir().newest(MOST_SHOWN, search)
    version = f"{len(mails)}.{mails[0].id if mails else ''}.{sum(mail.is_unread for mail in mails)}"
    return {"mails": mails, "search": search, "version": version, "unread": _maildir().count_unread()}


def index() -> ResponseReturnValue:
    """List the newest mail; ``?q=`` searches subject, addresses and text."""
    return render_template("mail_desk/mailbox.html", **_list())


def listing() -> ResponseReturnValue:
    """Return the list alone; the page polls it."""
    return render_template("mail_desk/_mailbox_list.html", **_list())


def show(mail_id: str) -> ResponseReturnValue:
    """Show one mail, and mark it as read."""
    mail = _maildir().mark_read(_mail(mail_id))
    message = ReadMessage(mail.source)
    viewer = make_viewer(message, Places(".show", ".html", ".source", ".attachment", {"mail_id": mail_id}, {}))
    findings = lint_message(message.source, _base_url())
    return render_template("mail_desk/mailbox_mail.html", mail=mail, viewer=viewer, findings=findings)


def html(mail_id: str) -> ResponseReturnValue:
    """Return the HTML for the frame."""
    return html_response(ReadMessage(_mail(mail_id).source))


def source(mail_id: str) -> ResponseReturnValue:
    """Return the mail as it was received."""
    return source_response(ReadMessage(_mail(mail_id).source))


def attachment(mail_id: str, number: int) -> Response:
    """Return a file of the mail."""
    return file_response(ReadMessage(_mail(mail_id).source), number)


def delete(mail_id: str) -> ResponseReturnValue:
    """Delete one mail."""
    _maildir().delete(_mail(mail_id))
    return redirect(url_for(".index"), 303)


def delete_all() -> ResponseReturnValue:
    """Delete every mail."""
    _maildir().delete_all()
    return redirect(url_for(".index"), 303)
