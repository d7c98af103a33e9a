"""Make a new message of a stored one: the same body byte for byte, with a Message-ID and a Date of its own."""

from __future__ import annotations

import re
import secrets
import time
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import NamedTuple

from .header import field

# A header field with its folded lines (RFC 5322, 2.2.3), as the writer of the stored message ended them.
FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:.*?(?:\r?\n(?![ \t])|\Z)", re.DOTALL)
END = re.compile(rb"(?<=\n)\r?\n")
# With these, the mail program of whoever gets a copy would unsubscribe the recipient (RFC 8058).
UNSUBSCRIBING = frozenset({b"list-unsubscribe", b"list-unsubscribe-post"})
# It covers the old Message-ID and Date. The worker signs what is unsigned.
SIGNATURE = frozenset({b"dkim-signature"})


class Renewed(NamedTuple):
    """The new message's bytes and its Message-ID."""

    source: bytes
    message_id: str


def renew(source: bytes, sender: str, *, subject: str | None = None) -> Renewed:
    """Return the message in *source* with a new Message-ID and the current Date.

    *sender* is the address whose domain the Message-ID gets. With a new *subject* it is a copy for somebody else than the
    recipient: nobody can unsubscribe with it.
    """
    message_id = f"<{time.time_ns():x}.{secrets.token_hex(8)}@{sender.rpartition('@')[2] or 'localhost'}>"
    new = {
        b"message-id": f"Message-ID: {message_id}\r\n".encode(),
        b"date": f"Date: {format_datetime(datetime.now(UTC))}\r\n".encode(),
    }
    dropped = SIGNATURE
    if subject is not None:
        new[b"subject"], dropped = field("Subject", subject).encode(), SIGNATURE | UNSUBSCRIBING
    found = END.search(source)
    head, body = (source[: found.start()], source[found.start() :]) if found else (source, b"\r\n")
    kept = [match.group() for match in FIELD.finditer(head) if match[1].lower() not in new.keys() | dropped]
    return Renewed(b"".join([*kept, *new.values()]) + body, message_id)
