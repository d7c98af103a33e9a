"""Make the document in which a mail's HTML is shown: nothing runs, nothing is fetched, in the colours that one asks for.

The mail is a stranger's. The frame is a sandbox without scripts and forms, by its attribute and by its policy, and the policy
fetches nothing: the mail's own pictures become part of the document. A picture with a URL of ours would not load anyway, because a
browser sends no cookies from a sandbox.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from flask import Response, abort

if TYPE_CHECKING:
    from ..message.reading import ReadMessage

# Links open in a new tab, as in a mail program.
SANDBOX = "allow-popups allow-popups-to-escape-sandbox"
POLICY = (
    f"sandbox {SANDBOX}; default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "SAMEORIGIN",
    "X-Content-Type-Options": "nosniff",
    # A link must not tell its target where the desk is, and a browser may look up the names of links.
    "Referrer-Policy": "no-referrer",
    "X-DNS-Prefetch-Control": "off",
}
LIGHT, DARK, INVERTED = "light", "dark", "inverted"

HEAD = re.compile(r"<head\b[^>]{0,2000}>", re.IGNORECASE)
# Chromium connects to where an <iframe> points before it asks the policy, and no mail program shows one. They are renamed and not
# removed, so that nothing can be put together anew.
ACTIVE = re.compile(r"<(?=(?:link|base|script|object|embed|i?frame|portal)[\s/>])", re.IGNORECASE)
CID = re.compile(r"""(?<=["'(=\s])cid:([^\s"'<>)]{1,500})""", re.IGNORECASE)
# Most bytes of pictures in one document.
LARGEST_PICTURES = 10_000_000
PREFERS = re.compile(r"\(\s{0,9}prefers-color-scheme\s{0,9}:\s{0,9}(light|dark)\s{0,9}\)", re.IGNORECASE)
SCHEME = re.compile(r"(?<![\w-])(color-scheme\s{0,9}:\s{0,9})([a-z ]{0,40}\bdark\b[a-z ]{0,40})", re.IGNORECASE)
META_SCHEME = re.compile(r"<meta\b[^>]{0,500}color-scheme[^>]{0,500}\bdark\b", re.IGNORECASE)
ALWAYS, NEVER = "(min-width: 0)", "(max-width: 0)"
# As mail programs do that darken what has no dark colours of its own: pictures keep theirs. The desk inverts the frame.
INVERT_PICTURES = "<style>img,video,picture{filter:invert(1) hue-rotate(180deg)}</style>"


def has_dark_colours(html: str) -> bool:
    """Return whether the mail has colours of its own for a dark screen."""
    declares = META_SCHEME.search(html) or SCHEME.search(html)
    return bool(declares) or any(found[1].lower() == DARK for found in PREFERS.finditer(html))


def frame_response(message: ReadMessage, colours: str) -> Response:
    """Return the document for the HTML of *message*, in *colours*: ``light``, ``dark`` or ``inverted``; 404 without HTML."""
    if message.html is None:
        abort(404, "This message has no HTML.")
    pictures: dict[str, str] = {}
    room = LARGEST_PICTURES
    for file, data in message.pictures():
        room -= len(data)
        if room > 0:
            pictures.setdefault(file.content_id, f"data:{file.content_type};base64,{base64.b64encode(data).decode()}")
    return Response(frame_document(message.html, pictures, colours), content_type="text/html; charset=utf-8", headers=HEADERS)


def frame_document(html: str, pictures: dict[str, str], colours: str) -> str:
    """Return *html* for the frame; *pictures* has the data URL of each Content-ID.

    The colours are chosen here, by rewriting the mail's media queries, because a browser asks the screen and not the frame.
    """
    scheme = DARK if colours == DARK else LIGHT
    is_dark_by_meta = scheme == DARK and META_SCHEME.search(html)
    html = ACTIVE.sub("<x-", html)
    html = PREFERS.sub(lambda found: ALWAYS if found[1].lower() == scheme else NEVER, html)
    html = SCHEME.sub(lambda found: found[1] + scheme, html)
    html = CID.sub(lambda found: pictures.get(unquote(found[1]), found[0]), html)
    start = f'<base target="_blank"><meta name="color-scheme" content="{DARK if is_dark_by_meta else LIGHT}">'
    if colours == INVERTED:
        start += INVERT_PICTURES
    found = HEAD.search(html)
    return html[: found.end()] + start + html[found.end() :] if found else start + html
