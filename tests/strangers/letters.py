"""Emails, plain and strange, for a drain: each carries its number, so that what arrives can be counted and compared."""

from __future__ import annotations

import re
from email import message_from_bytes
from typing import TYPE_CHECKING, Any

from flask_mail import Attachment

from flask_outbox import Message, enqueue

if TYPE_CHECKING:
    from collections.abc import Callable

SENDER, SUSAN, UNKNOWN = "susan@example.com", "susan@example.com", "noone@example.com"
NUMBER = re.compile(rb"^X-(Number|Letter): (\d+)\r?$", re.MULTILINE)
# One large message in so many; the others take turns.
LARGE_EVERY = 200

KINDS: list[tuple[str, dict[str, Any]]] = [
    ("plain", {"body": "text of a line that is like others\n" * 40}),
    ("dots", {"body": ".\n..\n.hidden\n\n.\nQUIT\n...\n"}),
    ("both halves", {"body": "text\n" * 20, "html": "<p>text</p>\n" * 20}),
    ("a long line", {"body": "x" * 5000 + "\n"}),
    ("beyond ASCII", {"body": "Grüße, 你好, \N{GRINNING FACE}\n" * 10, "subject": "Grüße \N{GRINNING FACE} " * 10}),
    ("empty", {"body": ""}),
    ("From at a line's start", {"body": "From here on\n>From there\nMAIL FROM:<a@example.com>\n"}),
    ("a name beyond ASCII", {"body": "hello\n", "recipients": [("Zoë Müller, Büro", SUSAN)]}),
    ("a domain beyond ASCII", {"body": "hello\n", "recipients": ["susan@exämple.com"]}),
    (
        "an attachment",
        {"body": "see below\n", "attachments": [Attachment("naïve.bin", "application/octet-stream", bytes(range(256)) * 40)]},
    ),
    ("an unknown recipient", {"body": "hello?\n", "recipients": [UNKNOWN]}),
    ("an address beyond ASCII", {"body": "hello\n", "recipients": ["zoë@example.com"]}),
]


def write(number: int, *, leave_out: Callable[[str], bool]) -> str:
    """Enqueue email *number* and return its kind; kinds that *leave_out* names are plain instead."""
    kind, fields = KINDS[number % len(KINDS)]
    if number % LARGE_EVERY == LARGE_EVERY // 2:
        kind, fields = "a megabyte", {"body": "a line of a megabyte, with a dot at its end.\n" * 22000}
    if leave_out(kind):
        kind, fields = KINDS[0]
    message = Message(**{"subject": f"email {number}", "recipients": [SUSAN], "sender": SENDER} | fields)
    message.extra_headers = {"X-Number": str(number)}
    enqueue(message)
    return kind


def number_of(source: bytes) -> tuple[str, int]:
    """Return who sent *source*, ``Number`` for us and ``Letter`` for smtplib, and which email it is."""
    found = NUMBER.search(source)
    assert found, source[:500]
    return found[1].decode(), int(found[2])


def text_of(source: bytes) -> bytes:
    """Return the body of *source* without what a mailbox may change: line ends, "From " at a line's start, empty last lines."""
    return _tidy(source.replace(b"\r\n", b"\n").partition(b"\n\n")[2])


def content_of(source: bytes) -> bytes:
    """Return what all parts of *source* say, decoded: some servers write another transfer encoding when they deliver."""
    parts = [part for part in message_from_bytes(source).walk() if not part.is_multipart()]
    return b"\n--\n".join(_tidy(part.get_payload(decode=True).replace(b"\r\n", b"\n")) for part in parts)  # type: ignore[union-attr] # bytes, as it is no multipart


def _tidy(text: bytes) -> bytes:
    return re.sub(rb"^>*From ", b"From ", text, flags=re.MULTILINE).rstrip(b"\n")
