"""``mailbox()``: the blueprint with the pages of the development mailbox, in the look of the desk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask, current_app, render_template
from werkzeug.exceptions import HTTPException

from ...settings import ConfigurationError
from .. import display, forms
from ..blueprint import NO_KEY, add_headers
from . import views
from .maildir import Maildir

if TYPE_CHECKING:
    from flask.blueprints import BlueprintSetupState
    from flask.typing import ResponseReturnValue

DESK = Path(__file__).parent.parent
NOT_IN_PRODUCTION = (
    "the development mailbox shows every mail to every visitor, and the app is not in debug mode: do not register it in "
    "production. On a development machine, pass mailbox(..., development=True)"
)


class Mailbox(Blueprint):
    """The blueprint of the mailbox; the arguments are those of ``mailbox``."""

    def __init__(self, name: str, folder: str | Path, *, development: bool) -> None:
        super().__init__(
            name, __name__, template_folder=str(DESK / "templates"), static_folder=str(DESK / "static"), static_url_path="/static"
        )
        self._folder, self._development = Path(folder), development

    @property
    def maildir(self) -> Maildir:
        """Return the Maildir; a relative folder is inside the app's instance folder."""
        return Maildir(Path(current_app.instance_path) / self._folder)

    def register(self, app: Flask, options: dict[str, Any]) -> None:  # type: ignore[override] # as Flask's own Blueprint is used
        """Register the pages; raise ConfigurationError outside development, or without a secret key."""
        problems = []
        if not (self._development or app.debug or app.testing):
            problems.append(NOT_IN_PRODUCTION)
        if not app.secret_key:
            problems.append(NO_KEY)
        if problems:
            raise ConfigurationError(problems)
        super().register(app, options)


def mailbox(
    folder: str | Path = "mailbox",
    *,
    home: str | None = None,
    development: bool = False,
    name: str = "mailbox",
) -> Mailbox:
    """Return the development mailbox, a blueprint: ``app.register_blueprint(mailbox(), url_prefix="/mailbox")``.

    It shows the mail in the Maildir *folder*, which is relative to the app's instance folder, to everybody: register it in
    development only. Outside Flask's debug mode that raises ConfigurationError, unless *development* is true. Each mail is
    shown with what lint says of it. *home* is the endpoint that the title leads to, and *name* the blueprint's name.
    """
    bp = Mailbox(name, folder, development=development)
    bp.before_request(forms.protect)
    bp.after_request(add_headers)
    bp.context_processor(lambda: {"csrf_token": forms.csrf_token, "sections": (), "home": home})
    bp.record_once(_register_filters)
    bp.register_error_handler(HTTPException, _http_error)
    views.add_routes(bp)
    return bp


def _register_filters(state: BlueprintSetupState) -> None:
    display.add_filters(state.app.jinja_env)


def _http_error(error: HTTPException) -> ResponseReturnValue:
    if error.response is not None or (error.code or 500) < 400:  # noqa: PLR2004 - a redirect is an HTTPException too
        return error
    return render_template("mail_desk/error.html", title=error.name, text=error.description or ""), error.code or 500
