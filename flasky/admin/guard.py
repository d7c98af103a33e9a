"""The guard: everything under /admin is for administrators."""

from __future__ import annotations

from flask import abort, request
from flask.typing import ResponseReturnValue
from flask_login import current_user

from flasky.extensions import login

PREFIX = "/admin"


def guard() -> ResponseReturnValue | None:
    """Redirect an anonymous visitor to the sign-in page, and answer 403 to a user who is no administrator.

    The path of the matched rule decides, so no page can be forgotten. An unknown path under /admin gets the same answer.
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
