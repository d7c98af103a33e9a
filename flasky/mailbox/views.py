"""The mailbox pages: what has arrived, newest first, and each mail with all its parts."""

from __future__ import annotations

from pathlib import Path

from flask import Response, abort, current_app, render_template, url_for
from flask.typing import ResponseReturnValue

from flasky.mailbox import bp
from flasky.mailbox.maildir import Mail, Maildir

# A mail's HTML is a stranger's: no scripts, no forms, nothing from elsewhere, and shown in a sandboxed frame.
HTML_POLICY = "sandbox allow-popups; default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; frame-ancestors 'self'"


def _maildir() -> Maildir:
    return Maildir(Path(current_app.instance_path) / "mailbox")


def _mail(mail_id: str) -> Mail:
    mail = _maildir().get(mail_id)
    if mail is None:
        abort(404)
    return mail


@bp.get("/")
def index() -> ResponseReturnValue:
    """List what has arrived."""
    return render_template("mailbox/index.html", mails=_maildir().newest())


@bp.get("/list")
def listing() -> ResponseReturnValue:
    """Return the list alone, which the page asks for again and again."""
    return render_template("mailbox/_list.html", mails=_maildir().newest())


@bp.get("/<mail_id>/")
def show(mail_id: str) -> ResponseReturnValue:
    """Show one mail."""
    return render_template("mailbox/show.html", mail=_mail(mail_id))


@bp.get("/<mail_id>/html")
def html(mail_id: str) -> ResponseReturnValue:
    """Return the HTML half, for the frame, its inline images pointing here."""
    mail = _mail(mail_id)
    body = mail.body("html")
    if body is None:
        abort(404)
    for content_id, number in mail.content_ids():
        body = body.replace(f"cid:{content_id}", url_for(".attachment", mail_id=mail_id, number=number))
    headers = {"Content-Security-Policy": HTML_POLICY, "X-Frame-Options": "SAMEORIGIN"}
    return Response(body, content_type="text/html; charset=utf-8", headers=headers)


@bp.get("/<mail_id>/source")
def source(mail_id: str) -> ResponseReturnValue:
    """Return the mail as it came over the wire."""
    return Response(_mail(mail_id).source, content_type="text/plain; charset=utf-8")


@bp.get("/<mail_id>/attachment/<int:number>")
def attachment(mail_id: str, number: int) -> ResponseReturnValue:
    """Return one attachment; only images are shown, all else is downloaded."""
    mail = _mail(mail_id)
    try:
        filename, data = mail.file(number)
    except IndexError:
        abort(404)
    kind = mail.attachments[number].content_type
    shown = kind in {"image/png", "image/jpeg", "image/gif", "image/webp"}
    response = Response(data, content_type=kind if shown else "application/octet-stream")
    response.headers.set("Content-Disposition", "inline" if shown else "attachment", filename=filename)
    return response
