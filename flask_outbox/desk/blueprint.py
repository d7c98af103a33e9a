"""``desk()``: the blueprint, with its guard and its pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import current_app, request
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ..store.status.failures import explain
from . import forms, pages
from .foundation import PagesBlueprint, error_page
from .rights import Action, may, require

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask.typing import ResponseReturnValue

    from ..store.models import Email

NO_RULE = (
    "the desk has no rule that says who may use it: desk(may=...), where may(action, email) returns whether the current user may "
    "do that. Without one it works in development alone (flask run --debug)"
)


class Desk(PagesBlueprint):
    """The blueprint of the desk; *may* is the host's rule, *who* returns the operator's name, *to_me* the operator's address."""

    def __init__(self, name: str, may: Callable[..., bool] | None, who: Callable[[], str], to_me: Callable[[], str | None]) -> None:
        super().__init__(name)
        self._rule, self.who, self.to_me = may, who, to_me

    def may(self, action: Action, email: Email | None) -> bool:
        """Return whether the current user may do *action* to *email*; in development, without a rule, everybody may."""
        return self._rule is None or self._rule(action, email)

    def problems(self, app: Any) -> Iterator[str]:
        """Return why *app* must not register it: no rule, outside development, or no secret key."""
        if self._rule is None and not (app.debug or app.testing):
            yield NO_RULE
        yield from super().problems(app)


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
    bp.context_processor(_context)
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


def _context() -> dict[str, Any]:
    return {"csrf_token": forms.csrf_token, "may": may, "Action": Action, "sections": pages.sections()}


def _database_error(error: DBAPIError | PoolTimeout) -> ResponseReturnValue:
    explained = explain(error)
    current_app.logger.error("the desk cannot read the outbox: %s", explained.what)
    return error_page(503, "The outbox cannot be read", f"{explained.what}. {explained.remedy}")
