"""The one guard: whatever is under /admin is for administrators."""

from __future__ import annotations

from flask import abort, request
from flask.typing import ResponseReturnValue
from flask_login import current_user

from flasky.extensions import login

PREFIX = "/admin"


def guard() -> ResponseReturnValue | None:
    """Send a stranger to sign in, and refuse whoever has no business here.

    It goes by the path of the matched rule, so that a page cannot be forgotten; an address under /admin where nothing is
    answers a stranger no differently.
    """
    path = request.url_rule.rule if request.url_rule else request.path
    if path != PREFIX and not path.startswith(f"{PREFIX}/"):
        return None
    if not current_user.is_authenticated:
        answer: ResponseReturnValue = login.unauthorized()
        return answer
    if not current_user.is_admin:
        abort(403)
    return None
