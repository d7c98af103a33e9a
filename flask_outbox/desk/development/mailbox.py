"""``mailbox()``: the blueprint with the pages of the development mailbox, in the look of the desk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask, Response, abort, current_app, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException

from ...message.reading import ReadMessage
from ...settings import ConfigurationError
from .. import display, forms
from ..headers import add_headers
from ..viewer import Places, file_response, html_response, make_viewer, source_response
from .maildir import Mail, Maildir

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flask.blueprints import BlueprintSetupState
    from flask.typing import ResponseReturnValue

NOT_IN_PRODUCTION = (
    "the development mailbox shows every mail to every visitor, and the app is not in debug mode: do not register it in production, "
    "or pass mailbox(..., development=True)"
)
NO_KEY = "the mailbox protects its forms with the session, and the app has no SECRET_KEY: set it"


class Mailbox(Blueprint):
    """The blueprint; *folder* is the Maildir's, relative to the instance folder, and *remarks* returns what is wrong with a mail."""

    def __init__(
        self, name: str, folder: str | Path, remarks: Callable[[bytes], list[str]] | None, home: str | None, *, development: bool
    ) -> None:
        super().__init__(
            name, __name__, template_folder="../templates", static_folder="../static", static_url_path="/static"
        )
        self._folder, self.remarks, self.home, self._development = folder, remarks, home, development

    @property
    def maildir(self) -> Maildir:
        """Return the Maildir."""
        from pathlib import Path  # noqa: PLC0415

        return Maildir(Path(current_app.instance_path) / self._folder)

    def register(self, app: Flask, options: dict[str, Any]) -> None:
        """Register the pages; raise ConfigurationError outside development, or without a secret key."""
        is_development = self._development or app.debug or app.testing
        problems = [text for text, is_right in ((NOT_IN_PRODUCTION, is_development), (NO_KEY, app.secret_key)) if not is_right]
        if problems:
            raise ConfigurationError(problems)
        super().register(app, options)
