"""The message viewer: how a message is looked at, and the answers with its parts. The email page and the mailbox share it."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

from flask import Response, abort, request, send_file, url_for

from .frame import DARK, INVERTED, LIGHT, SANDBOX, frame_response, has_dark_colours

if TYPE_CHECKING:
    from ..message.reading import ReadMessage

# How wide the frame is; the style sheet has the widths.
WIDTHS = {"fit": "Fit", "phone": "Phone, 390 px", "desktop": "Desktop, 1,000 px"}
COLOURS = {LIGHT: "Light", DARK: "Dark", INVERTED: "Inverted"}
# Nothing in a file may run, whatever a browser makes of it.
FILE_HEADERS = {
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Places(NamedTuple):
    """The endpoints of a message's *page*, its *html*, *source* and *file*, their arguments, and those of the page alone."""

    page: str
    html: str
    source: str
    file: str
    arguments: dict[str, Any]
    page_arguments: dict[str, Any]


class Choice(NamedTuple):
    """A way to look at the message: its *label*, the *url* that leads to it, and whether it is chosen now."""

    label: str
    url: str
    is_chosen: bool


@dataclass(frozen=True)
class Viewer:
    """What the template shows a *message* with, in the *width* and the *colours* that the visitor has chosen."""

    message: ReadMessage
    places: Places
    width: str
    colours: str
    sandbox: str = SANDBOX

    @property
    def width_choices(self) -> list[Choice]:
        """Return the widths."""
        return [self._choice(label, value == self.width, width=value) for value, label in WIDTHS.items()]

    @property
    def colour_choices(self) -> list[Choice]:
        """Return the colours."""
        return [self._choice(label, value == self.colours, colours=value) for value, label in COLOURS.items()]

    def _choice(self, label: str, is_chosen: bool, **chosen: str) -> Choice:  # noqa: FBT001 - the field of the tuple
        arguments = {"width": self.width, "colours": self.colours} | self.places.arguments | self.places.page_arguments | chosen
        return Choice(label, url_for(self.places.page, _anchor="letter", **arguments), is_chosen)

    @property
    def frame_url(self) -> str:
        """Return the URL of the frame's document."""
        return url_for(self.places.html, colours=self.colours, **self.places.arguments)

    @property
    def source_url(self) -> str:
        """Return the URL of the source."""
        return url_for(self.places.source, **self.places.arguments)

    def file_url(self, number: int) -> str:
        """Return the URL of a file."""
        return url_for(self.places.file, number=number, **self.places.arguments)

    @property
    def has_dark_colours(self) -> bool:
        """Return whether the mail has colours of its own for a dark screen."""
        return has_dark_colours(self.message.html or "")


def make_viewer(message: ReadMessage, places: Places) -> Viewer:
    """Return the viewer of *message*, as the query of the request asks for it."""
    return Viewer(message, places, chosen("width", WIDTHS), chosen("colours", COLOURS))


def chosen(name: str, choices: dict[str, str]) -> str:
    """Return the argument *name* of the request if it is one of *choices*, else the first of them."""
    given = request.args.get(name, "")
    return given if given in choices else next(iter(choices))


def html_response(message: ReadMessage) -> Response:
    """Return the document of the frame, in the colours that the query of the request asks for."""
    return frame_response(message, chosen("colours", COLOURS))


def source_response(message: ReadMessage) -> Response:
    """Return the message byte for byte, as a text."""
    return Response(message.source, content_type="text/plain; charset=utf-8", headers=FILE_HEADERS)


def file_response(message: ReadMessage, number: int) -> Response:
    """Return a file: pictures that hold no script are displayed, everything else is downloaded; 404 if there is none."""
    found = message.file(number)
    if found is None:
        abort(404, "This message has no such file.")
    file, data = found
    mimetype = file.content_type if file.is_picture else "application/octet-stream"
    response = send_file(BytesIO(data), mimetype, as_attachment=not file.is_picture, download_name=file.name)
    response.headers.update(FILE_HEADERS)
    return response
