"""What goes to the server for one email, and what comes back: Envelope and Reply."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import enhanced_code


class Envelope(NamedTuple):
    """One message for one recipient, as SMTP transmits it.

    *sender* and *recipient* are bare addresses that ``message.address`` has parsed; nothing in this package parses them again.
    *source* is the finished message, with CRLF line ends.
    """

    sender: str
    recipient: str
    source: bytes

    @property
    def needs_smtputf8(self) -> bool:
        """Return whether an address of the envelope or the header has letters beyond ASCII (RFC 6531, 3.1 and 3.2).

        The header counts for every recipient of the message. It alone is read: the writer makes each body 7-bit clean, and a
        large one must not be read again for each recipient.
        """
        header = self.source[: self.source.find(b"\r\n\r\n")]
        return not (self.sender.isascii() and self.recipient.isascii() and header.isascii())


class Reply(NamedTuple):
    """One reply of the server: its code, and its text on one line, which may begin with an enhanced status code."""

    code: int
    reply: str

    @property
    def enhanced(self) -> str | None:
        """Return the enhanced status code (RFC 3463) at the start of the text."""
        return enhanced_code(self.reply)
