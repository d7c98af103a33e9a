"""Read a written mail back with two parsers that share no code, and look at its raw bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.utils import getaddresses
from typing import TYPE_CHECKING

from fast_mail_parser import parse_email, parse_email_tree, walk

if TYPE_CHECKING:
    from email.message import EmailMessage

    from fast_mail_parser import PyMail, PyMimePart
    from flask_mail import Message

    from flask_outbox.message.writer import WrittenMessage


@dataclass(frozen=True)
class Reading:
    """What the standard library (``python``) and fast-mail-parser (``rust``) make of one mail."""

    source: bytes
    python: EmailMessage
    rust: PyMail

    @property
    def leaves(self) -> list[EmailMessage]:
        return [part for part in self.python.walk() if not part.is_multipart()]

    @property
    def structure(self) -> list[str]:
        return [part.get_content_type() for part in self.python.walk()]

    @property
    def names(self) -> list[str]:
        """The names of the top header, in order."""
        return [name.lower() for name in self.python.keys()]  # noqa: SIM118 - a Message has keys, each as often as it stands there

    def mailboxes(self, header: str) -> list[tuple[str, str]]:
        """Everybody in *header*, as both parsers agree.

        The standard library's newer header parser (Python 3.11) puts blanks between the encoded words of a name, so its
        older one reads the names here.
        """
        raw = message_from_bytes(self.source, policy=policy.compat32)[header] or ""
        pairs = getaddresses([re.sub(r"\r\n(?=[ \t])", "", str(raw))])
        python = [(str(make_header(decode_header(name))), address) for name, address in pairs] if raw else []
        found = {"To": self.rust.to, "Cc": self.rust.cc, "From": [self.rust.from_], "Reply-To": self.rust.reply_to}[header]
        assert python == [(one.display_name or "", one.address) for one in found]
        assert [address for _, address in python] == [one.addr_spec for one in getattr(self.python[header], "addresses", ())]
        return python

    @property
    def people(self) -> list[tuple[str, str]]:
        return [*self.mailboxes("To"), *self.mailboxes("Cc")]

    @property
    def attachments(self) -> list[tuple[str, str, bytes]]:
        """Type, filename and content of each attachment, as both parsers agree."""
        python = [
            (part.get_content_type(), part.get_filename() or "", part.get_payload(decode=True))
            for part in self.leaves
            if part.get_content_disposition()
        ]
        parts = [one for one in walk(parse_email_tree(self.source)) if one.disposition and not one.children]
        assert python == [(one.content_type, one.filename, one.content) for one in parts]
        return python


def read(source: bytes) -> Reading:
    """Return what both parsers read, after they have found no fault with it, and agree on what it consists of."""
    check_raw(source)
    python: EmailMessage = message_from_bytes(source, policy=policy.default)  # type: ignore[assignment]
    for part in python.walk():
        assert not part.defects, part.defects
        for name, value in part.items():
            assert not value.defects, (name, value, value.defects)
    rust = parse_email(source)
    assert [one for one in rust.warnings if one.kind != "address-unparseable"] == []
    shape = [part.content_type for part in walk(parse_email_tree(source))]
    assert shape == [part.get_content_type() for part in python.walk()]
    assert rust.subject == (python["Subject"] or "")
    assert len(rust.from_.address) > 2
    assert [name.lower() for name in rust.headers] == list(dict.fromkeys(name.lower() for name in python.keys()))  # noqa: SIM118
    return Reading(source, python, rust)


def check_raw(source: bytes) -> None:
    """Check what any SMTP server may ask for (RFC 5321, 2.3.8 and 4.5.3.1.6; RFC 2045, 6.2; RFC 2047, 2)."""
    assert source.isascii()
    assert b"\0" not in source
    assert source.endswith(b"\r\n")
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", source), "a bare CR or LF"
    head, _, body = source.partition(b"\r\n\r\n")
    assert max(map(len, body.split(b"\r\n"))) <= 990
    for line in head.split(b"\r\n"):
        assert len(line) <= 990
        assert line.strip(), "a header line of blanks alone ends the header for some readers"
        assert b"=?utf-8?" not in line or len(line) <= 76, line


def texts(reading: Reading, subtype: str) -> str:
    """Return the one text of that subtype, as both parsers agree, with LF for line ends."""
    (part,) = (
        part for part in reading.leaves if part.get_content_type() == f"text/{subtype}" and not part.get_content_disposition()
    )
    python = part.get_content()
    rust = b"".join(
        one.content or b""
        for one in walk(parse_email_tree(reading.source))
        if one.content_type == f"text/{subtype}" and not one.disposition
    ).decode()
    assert python.replace("\r\n", "\n") == rust.replace("\r\n", "\n")
    return rust.replace("\r\n", "\n")


def tree(source: bytes) -> PyMimePart:
    return parse_email_tree(source)


def write_and_read(message: Message) -> tuple[WrittenMessage, Reading]:
    from flask_outbox.message.writer import write

    written = write(message)
    return written, read(written.source)
