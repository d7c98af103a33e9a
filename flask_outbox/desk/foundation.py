"""What the desk and the development mailbox have in common: a blueprint with their look, their headers and their error pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, render_template, request
from werkzeug.exceptions import HTTPException

from ..settings import ConfigurationError
from . import display

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask.blueprints import BlueprintSetupState
    from flask.typing import ResponseReturnValue

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
NO_KEY = "the desk protects its forms with the session, and the app has no SECRET_KEY: set it"


class PagesBlueprint(Blueprint):
    """A blueprint called *name* with the templates and static files of the desk."""

    def __init__(self, name: str) -> None:
        super().__init__(name, __name__, template_folder="templates", static_folder="static", static_url_path="/static")
        self.after_request(_add_headers)
        self.record_once(_register_filters)
        self.register_error_handler(HTTPException, _http_error)

    def problems(self, app: Any) -> Iterator[str]:
        """Return why *app* must not register it, one sentence each."""
        if not app.secret_key:
            yield NO_KEY

    def register(self, app: Any, options: dict[str, Any]) -> None:
        """Register the pages, or raise ConfigurationError with every problem."""
        problems = list(self.problems(app))
        if problems:
            raise ConfigurationError(problems)
        super().register(app, options)


def error_page(code: int, title: str, text: str) -> ResponseReturnValue:
    """Return the error page for *code*."""
    return render_template("mail_desk/error.html", title=title, text=text), code


def _add_headers(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.endpoint and request.endpoint.endswith(".static"):
        response.headers["Cache-Control"] = "public, max-age=3600"
    return response


def _register_filters(state: BlueprintSetupState) -> None:
    display.add_filters(state.app.jinja_env)


def _http_error(error: HTTPException) -> ResponseReturnValue:
    if error.response is not None or (error.code or 500) < 400:  # noqa: PLR2004 - a redirect is an HTTPException too
        return error
    return error_page(error.code or 500, error.name, error.description or "")
