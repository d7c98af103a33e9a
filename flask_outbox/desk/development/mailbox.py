"""``mailbox()``: the blueprint with the pages of the development mailbox, in the look of the desk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import current_app

from .. import forms
from ..foundation import PagesBlueprint
from . import views
from .maildir import Maildir

if TYPE_CHECKING:
    from collections.abc import Iterator

NOT_IN_PRODUCTION = (
    "the development mailbox shows every mail to every visitor, and the app is not in debug mode: do not register it in "
    "production. On a development machine, pass mailbox(..., development=True)"
)


class Mailbox(PagesBlueprint):
    """The blueprint of the mailbox; the arguments are those of ``mailbox``."""

    def __init__(self, name: str, folder: str | Path, *, development: bool) -> None:
        super().__init__(name)
        self._folder, self._development = Path(folder), development

    @property
    def maildir(self) -> Maildir:
        """Return the Maildir; a relative folder is inside the app's instance folder."""
        return Maildir(Path(current_app.instance_path) / self._folder)

    def problems(self, app: Any) -> Iterator[str]:
        """Return why *app* must not register it: it is not in development, or has no secret key."""
        if not (self._development or app.debug or app.testing):
            yield NOT_IN_PRODUCTION
        yield from super().problems(app)


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
    bp.context_processor(lambda: {"csrf_token": forms.csrf_token, "sections": (), "home": home})
    views.add_routes(bp)
    return bp
