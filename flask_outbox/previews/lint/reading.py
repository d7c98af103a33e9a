"""Read a message back into its subject and its two halves, however broken it is."""

from __future__ import annotations

from email import message_from_bytes
from email.errors import MessageError
from email.header import decode_header, make_header
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from email.message import Message


def read_parts(source: bytes) -> tuple[str, str, str | None]:
    """Return the subject, the plain text and the HTML of a message; None without HTML."""
    message = message_from_bytes(source)
    halves: dict[str, str] = {}
    for part in message.walk():
        if not part.is_multipart() and part.get_content_disposition() != "attachment":
            halves.setdefault(part.get_content_type(), _text(part))
    return _subject(message), halves.get("text/plain", ""), halves.get("text/html")


def _subject(message: Message) -> str:
    raw = str(message.get("Subject", ""))
    try:
        return str(make_header(decode_header(raw)))
    except (LookupError, ValueError, MessageError):
        return raw


def _text(part: Message) -> str:
    content = part.get_payload(decode=True)
    if not isinstance(content, bytes):
        return ""
    try:
        return content.decode(part.get_content_charset("utf-8"), "replace")
    except (LookupError, ValueError):
        return content.decode("utf-8", "replace")
