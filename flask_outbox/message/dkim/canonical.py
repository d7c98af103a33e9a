"""Bring headers and bodies into the form that DKIM signs: the *relaxed* one, which survives folding and trailing spaces."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# RFC 6376, 2.8: white space is space and tab, nothing else.
SPACES = re.compile(rb"[ \t]+")


def relaxed_body(body: bytes) -> bytes:
    """Return *body*, which has CRLF for line ends, by RFC 6376, 3.4.4."""
    if not body.endswith(b"\r\n"):
        body += b"\r\n"
    body = _one_space(body)
    if b" \r\n" in body:
        body = body.replace(b" \r\n", b"\r\n")
    end = len(body)
    while body.endswith(b"\r\n", 0, end):
        end -= 2
    return body[: end + 2] if end else b""


def relaxed_fields(head: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield each header field in *head*, as its name in lower case and its line without CRLF, by RFC 6376, 3.4.2."""
    unfolded = _one_space(head.replace(b"\r\n ", b" ").replace(b"\r\n\t", b" "))
    for line in unfolded.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon:
            name = name.strip().lower()
            yield name, name + b":" + value.strip(b" ")


def _one_space(text: bytes) -> bytes:
    """Return *text* with one space for all white space in a row. To look first is cheap: most texts have nothing to replace."""
    return SPACES.sub(b" ", text) if b"  " in text or b"\t" in text else text
