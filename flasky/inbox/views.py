"""Mailbox pages: the list of received mail, and each mail with all its parts."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from urllib.parse import unquote

from flask import Response, abort, current_app, render_template, send_file, url_for
from flask.typing import ResponseReturnValue

from flasky.inbox import bp
from flasky.inbox.maildir import Mail, Maildir

# The HTML of a mail is untrusted: it is shown in a sandboxed frame, without scripts, forms or external resources. Its
# links open in a new tab, as in a mail program.
SANDBOX = "allow-popups allow-popups-to-escape-sandbox"
HTML_POLICY = f"sandbox {SANDBOX}; default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; frame-ancestors 'self'"
BASE = '<base target="_blank">'
HEAD = re.compile(r"<head\b[^>]*>", re.IGNORECASE)
CID = re.compile(r"cid:([^\s\"'<>)]+)", re.IGNORECASE)


def _maildir() -> Maildir:
    return Maildir(Path(current_app.instance_path) / "mailbox")


def _mail(mail_id: str) -> Mail:
    mail = _maildir().get(mail_id)
    if mail is None:
        abort(404)
    return mail


@bp.get("/")
def index() -> ResponseReturnValue:
    """List the received mail."""
    return render_template("mailbox/index.html", mails=_maildir().newest())


@bp.get("/list")
def listing() -> ResponseReturnValue:
    """Return the list alone; the page polls it."""
    return render_template("mailbox/_list.html", mails=_maildir().newest())


@bp.get("/<mail_id>/")
def show(mail_id: str) -> ResponseReturnValue:
    """Show one mail."""
    return render_template("mailbox/show.html", mail=_mail(mail_id), sandbox=SANDBOX)


@bp.get("/<mail_id>/html")
def html(mail_id: str) -> ResponseReturnValue:
    """Return the HTML body for the frame, with links to its inline images."""
    mail = _mail(mail_id)
    body = mail.body("html")
    if body is None:
        abort(404)
    numbers = mail.content_ids()

    def address(found: re.Match[str]) -> str:
        number = numbers.get(unquote(found[1]))
        return found[0] if number is None else url_for(".attachment", mail_id=mail_id, number=number)

    body = CID.sub(address, HEAD.sub(lambda found: found[0] + BASE, body, count=1))
    headers = {"Content-Security-Policy": HTML_POLICY, "X-Frame-Options": "SAMEORIGIN"}
    return Response(body, content_type="text/html; charset=utf-8", headers=headers)


@bp.get("/<mail_id>/source")
def source(mail_id: str) -> ResponseReturnValue:
    """Return the source of the mail."""
    return Response(_mail(mail_id).source, content_type="text/plain; charset=utf-8")


@bp.get("/<mail_id>/attachment/<int:number>")
def attachment(mail_id: str, number: int) -> ResponseReturnValue:
    """Return one attachment; images are displayed, everything else is downloaded."""
    mail = _mail(mail_id)
    try:
        filename, data = mail.file(number)
    except IndexError:
        abort(404)
    kind = mail.attachments[number].content_type
    is_shown = kind in {"image/png", "image/jpeg", "image/gif", "image/webp"}
    mimetype = kind if is_shown else "application/octet-stream"
    return send_file(BytesIO(data), mimetype, as_attachment=not is_shown, download_name=filename)
