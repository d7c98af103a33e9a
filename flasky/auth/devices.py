"""Known devices: wrong passwords of strangers do not lock an account's owner out of a browser that has signed in before.

The way is OWASP's "device cookie": signing in leaves a signed cookie, and whoever brings it has tries of their own.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from flask import current_app, request
from itsdangerous import BadSignature, URLSafeTimedSerializer

if TYPE_CHECKING:
    from werkzeug import Response

    from flasky.models import User

COOKIE = "device"
# How long a browser stays known after it has signed in, in seconds.
ONE_YEAR = 365 * 86400


def _serializer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(current_app.secret_key or "", salt="known device")


def remember_device(answer: Response, user: User) -> Response:
    """Leave a cookie with *answer* that makes this browser known for *user*'s account."""
    value = _serializer().dumps([user.email, secrets.token_hex(8)])
    answer.set_cookie(
        COOKIE,
        value,
        max_age=ONE_YEAR,
        path="/auth",
        secure=current_app.config["SESSION_COOKIE_SECURE"],
        httponly=True,
        samesite="Lax",
    )
    return answer


def device_of(account: str) -> str:
    """Return the name of this browser if it is known for *account*, an address in canonical form; otherwise an empty string."""
    try:
        address, name = _serializer().loads(request.cookies.get(COOKIE, ""), max_age=ONE_YEAR)
    except (BadSignature, ValueError):
        return ""
    return str(name) if address == account else ""
