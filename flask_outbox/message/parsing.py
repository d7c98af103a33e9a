"""Parse any bytes as a message, however broken, in bounded time: the development mailbox accepts mail from anybody."""

from __future__ import annotations

import email
import re
from email.parser import BytesHeaderParser
from email.policy import EmailPolicy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage, MIMEPart

# Python's parser takes time that grows faster than the header, most of all with parameters: a longer one is not decoded.
LONGEST_PARSED, LONGEST_WITH_PARAMETERS = 10_000, 1_500
LONGEST_SHOWN = 4_000
# More parts than this are not looked at.
MOST_PARTS = 1_000
HEAD_END = re.compile(rb"\r?\n\r?\n")
# Most bytes of a header block.
LARGEST_HEAD = 500_000


class LenientPolicy(EmailPolicy):
    """Python's header parser, with the raw text as a fallback, because the parser raises on some malformed mail."""

    def header_fetch_parse(self, name: str, value: str) -> Any:
        """Return the parsed header, or its raw text if it cannot be parsed."""
        if len(value) <= (LONGEST_WITH_PARAMETERS if name.lower().startswith("content-") else LONGEST_PARSED):
            try:
                return super().header_fetch_parse(name, value)
            except Exception:  # noqa: BLE001, S110 - it raises IndexError, AttributeError, ValueError and more
                pass
        return "".join(value[:LONGEST_SHOWN].splitlines()).encode("ascii", "replace").decode()


POLICY: Any = LenientPolicy()


def parse_message(source: bytes) -> EmailMessage:
    """Return *source* as a message; one whose parts are nested too deeply is returned as one text."""
    try:
        return email.message_from_bytes(source, policy=POLICY)
    except Exception:  # noqa: BLE001 - RecursionError among them
        whole = parse_head(source)
        head = HEAD_END.split(source, 1)
        del whole["Content-Type"], whole["Content-Transfer-Encoding"]
        whole.set_payload(head[-1].decode("utf-8", "replace"))
        return whole


def parse_head(source: bytes) -> EmailMessage:
    """Return the headers of *source* alone, which is much faster."""
    head = HEAD_END.split(source[:LARGEST_HEAD], 1)[0]
    parsed: EmailMessage = BytesHeaderParser(policy=POLICY).parsebytes(head + b"\r\n\r\n")
    return parsed


def leaves(message: MIMEPart) -> Iterator[MIMEPart]:
    """Yield every part that is no container, up to MOST_PARTS; a forwarded message counts as one part."""
    waiting, seen = [message], 0
    while waiting and seen < MOST_PARTS:
        part, seen = waiting.pop(), seen + 1
        if part.get_content_maintype() == "multipart" and part.is_multipart():
            inner: Any = part.get_payload()
            waiting += reversed(inner)
        else:
            yield part


def payload_of(part: MIMEPart) -> bytes:
    """Return the decoded bytes of *part*; of a forwarded message, all of it."""
    try:
        if part.is_multipart():
            inner: Any = part.get_payload()
            return b"".join(bytes(one) for one in inner)
        payload = part.get_payload(decode=True)
    except Exception:  # noqa: BLE001 - the generator and the decoders raise all kinds of errors on malformed mail
        return b""
    return payload if isinstance(payload, bytes) else b""
