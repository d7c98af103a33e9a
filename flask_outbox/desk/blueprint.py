"""``desk()``: the blueprint, with its guard, its headers and its pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, current_app, render_template, request
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException

from ..settings import ConfigurationError
from ..store.status.failures import explain
from . import display, forms, pages
from .rights import Action, may, require

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask.blueprints import BlueprintSetupState
    from flask.typing import ResponseReturnValue

    from ..store.models import Email

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; frame-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
NO_RULE = (
    "the desk has no rule that says who may use it: desk(may=...), where may(action, email) returns whether the current user may "
    "do that. Without one it works in development alone (flask run --debug)"
)
NO_KEY = "the desk protects its forms with the session, and the app has no SECRET_KEY: set it"


class Desk(Blueprint):
    """The blueprint of the desk; *may* is the host's rule, *who* returns the operator's name, *to_me* the operator's address."""

    def __init__(self, name: str, may: Callable[..., bool] | None, who: Callable[[], str], to_me: Callable[[], str | None]) -> None:
        super().__init__(name, __name__, template_folder="templates", static_folder="static", static_url_path="/static")
        self._rule, self.who, self.to_me = may, who, to_me

    def may(self, action: Action, email: Email | None) -> bool:
        """Return whether the current user may do *action* to *email*; in development, without a rule, everybody may."""
        return self._rule is None or self._rule(action, email)

    def register(self, app: Any, options: dict[str, Any]) -> None:
        """Register the desk; raise ConfigurationError without a rule, outside development, or without a secret key."""
        problems = []
        if self._rule is None and not (app.debug or app.testing):
            problems.append(NO_RULE)
        if not app.secret_key:
            problems.append(NO_KEY)
        if problems:
            raise ConfigurationError(problems)
        super().register(app, options)


def desk(
    may: Callable[[Action, Email | None], bool] | None = None,
    *,
    who: Callable[[], str] | None = None,
    to_me: Callable[[], str | None] | None = None,
    name: str = "mail_desk",
) -> Desk:
    """Return the operator's desk, a blueprint: ``app.register_blueprint(desk(may=may), url_prefix="/admin/mail")``.

    *may* is your rule: it is called with an ``Action`` and an ``Email``, or None for emails in general, and returns whether the
    current user may do that. Without it, registering the desk raises ConfigurationError, except in development. *who* returns the
    name that the audit records; without it, that is the user name of HTTP authentication, or "somebody". *to_me* returns the
    address for "send to me"; without it, or if it returns None, there is no such button. *name* is the blueprint's name.
    """
    bp = Desk(name, may, who or _http_user, to_me or _nowhere)
    bp.before_request(_guard)
    bp.after_request(add_headers)
    bp.context_processor(_context)
    bp.record_once(_register_filters)
    bp.register_error_handler(HTTPException, _http_error)
    bp.register_error_handler(DBAPIError, _database_error)
    bp.register_error_handler(PoolTimeout, _database_error)
    for page in pages.PAGES:
        page.add_routes(bp)
    return bp


def _http_user() -> str:
    return (request.authorization.username if request.authorization else None) or "somebody"


def _nowhere() -> None:
    return None


def _guard() -> None:
    """Ask the host's rule before every page, and check every form."""
    if request.endpoint and request.endpoint.endswith(".static"):
        return
    require(Action.LOOK)
    forms.protect()


def add_headers(response: Response) -> Response:
    """Add the security headers to *response*, except those that it has."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.endpoint and request.endpoint.endswith(".static"):
        response.headers["Cache-Control"] = "public, max-age=3600"
    return response


def _context() -> dict[str, Any]:
    return {"csrf_token": forms.csrf_token, "may": may, "Action": Action, "sections": pages.sections()}


def _register_filters(state: BlueprintSetupState) -> None:
    display.add_filters(state.app.jinja_env)


def _http_error(error: HTTPException) -> ResponseReturnValue:
    if error.response is not None or (error.code or 500) < 400:  # noqa: PLR2004 - a redirect is an HTTPException too
        return error
    return _error(error.code or 500, error.name, error.description or "")


def _database_error(error: DBAPIError | PoolTimeout) -> ResponseReturnValue:
    explained = explain(error)
    current_app.logger.error("the desk cannot read the outbox: %s", explained.what)
    return _error(503, "The outbox cannot be read", f"{explained.what}. {explained.remedy}")


def _error(code: int, title: str, text: str) -> ResponseReturnValue:
    return render_template("mail_desk/error.html", title=title, text=text), code
