"""The CSRF protection of the desk's forms: the host's Flask-WTF if it protects the app, else a token of our own."""

from __future__ import annotations

import hmac
import secrets

from flask import abort, current_app, request, session

FIELD = "csrf_token"
KEY = "mail_desk_csrf"
EXPIRED = "The form has expired: it was open for too long, or your browser blocks cookies. Go back, reload the page, and try again."


def csrf_token() -> str:
    """Return the token that each form of the desk carries in the field ``csrf_token``."""
    if "csrf" in current_app.extensions:
        from flask_wtf.csrf import generate_csrf  # noqa: PLC0415 - the host has it

        token: str = generate_csrf()
        return token
    if KEY not in session:
        session[KEY] = secrets.token_urlsafe(32)
    own: str = session[KEY]
    return own


def protect() -> None:
    """Answer 400 to a POST without the right token."""
    if request.method != "POST":
        return
    if "csrf" in current_app.extensions:
        # It may be told not to protect every view by itself (WTF_CSRF_CHECK_DEFAULT).
        current_app.extensions["csrf"].protect()
        return
    own = session.get(KEY)
    if not isinstance(own, str) or not hmac.compare_digest(own, request.form.get(FIELD, "")):
        abort(400, EXPIRED)
