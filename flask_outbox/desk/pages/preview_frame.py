"""The frame in which a preview shows the HTML of a mail: nothing in it runs, and nothing is fetched."""

from __future__ import annotations

import base64
import enum
import re
from typing import TYPE_CHECKING

from flask import Response

if TYPE_CHECKING:
    from flask_mail import Attachment, Message

POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'self'"
)
HEADERS = {"Content-Security-Policy": POLICY, "X-Frame-Options": "SAMEORIGIN", "Referrer-Policy": "no-referrer"}
QUERY = re.compile(r"\(\s*prefers-color-scheme\s*:\s*(dark|light)\s*\)", re.IGNORECASE)
DARK = re.compile(r"prefers-color-scheme\s*:\s*dark|light-dark\(|color-scheme\b[^<>;{}]*\bdark\b", re.IGNORECASE)
# Inverts lightness and keeps hues; pictures are inverted back.
INVERTED = "img,video{filter:invert(1) hue-rotate(180deg)}"


class Scheme(enum.StrEnum):
    """How a client shows a mail: light, with the mail's own dark style, or inverted because the client wants it dark."""

    LIGHT = "light"
    DARK = "dark"
    INVERTED = "inverted"


def has_dark_style(html: str) -> bool:
    """Return whether *html* says how it looks in dark mode."""
    return DARK.search(html) is not None


def frame(message: Message, scheme: Scheme) -> Response:
    """Return the HTML half of *message* as a page for a sandboxed frame, in the look that *scheme* says.

    The scheme does not depend on the browser: each query for it in the mail's CSS is replaced by its answer.
    """
    html = _with_images(str(message.html or ""), message.attachments)
    shown = Scheme.DARK if scheme is Scheme.DARK and has_dark_style(html) else Scheme.LIGHT
    html = QUERY.sub(lambda query: "(min-width:0px)" if query[1].lower() == shown else "(max-width:0px)", html)
    style = f":root{{color-scheme:{shown}!important}}{INVERTED if scheme is Scheme.INVERTED else ''}"
    return Response(f"{html}<style>{style}</style>", headers=HEADERS)


def _with_images(html: str, attachments: list[Attachment]) -> str:
    """Return *html* with its attached images in place of their Content-IDs."""
    for attachment in attachments:
        content_id = str(dict(attachment.headers or {}).get("Content-ID", "")).strip("<>")
        kind = (attachment.content_type or "").partition(";")[0]
        if content_id and re.fullmatch(r"image/[\w.+-]+", kind):
            data = attachment.data.encode() if isinstance(attachment.data, str) else attachment.data or b""
            url = f"data:{kind};base64,{base64.b64encode(data).decode()}"
            html = re.sub(rf"cid:{re.escape(content_id)}(?=[\"'\s)>])", url, html)
    return html
