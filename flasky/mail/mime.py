"""Write a flask_mail.Message as the bytes that go over the wire.

Flask-Mail's own ``as_bytes()`` lets headers in and corrupts what is not ASCII, and the standard library's is forty
times slower; the lines are joined here, by RFC 5322, 2045, 2046, 2047 and 2231, every one checked and 7-bit clean, so
that no server needs 8BITMIME. The one exception is an address with a non-ASCII local part, which needs SMTPUTF8.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flasky.mail import address
from flasky.mail.errors import InvalidMessage
from flasky.mail.header import field, fold, reject_controls

if TYPE_CHECKING:
    from flask_mail import Attachment, Message

    from flasky.mail.address import Address

# RFC 5322, 2.1.1 allows 998; some servers count the CRLF, or add to a line.
LONGEST_LINE = 990
# Where more than one byte in six is not ASCII, quoted-printable grows larger than base64.
BASE64_FROM = 6
LINE_BREAK = re.compile(r"\r\n|\r|\n")
LINE_BREAK_BYTES = re.compile(rb"\r\n|\r|\n")
# A parameter that is longer begins on a line of its own.
SHORT = 60
FOLD = "\r\n "
# RFC 2045, 5.1, and RFC 6838, 4.2: no value needs more than a token, or one in quotes without escapes.
CONTENT_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+( *; *[\w.-]+=(\"[ !#-\[\]-~]*\"|[\w!#$%&'*+.^`{|}~-]+))*", re.ASCII)
PARAMETER = re.compile(r" *; *([\w.-]+)=(\"[^\"]*\"|[^ ;]+)", re.ASCII)
LONGEST_CONTENT_TYPE = 250
# RFC 5322, 3.6.4: dots inside, and no quotes.
MESSAGE_ID = re.compile(r"<[\w!#$%&'*+/=?^`{|}~-]+(\.[\w!#$%&'*+/=?^`{|}~-]+)*@[\w-]+(\.[\w-]+)*>", re.ASCII)
LONGEST_MESSAGE_ID = 250
# What every reader takes from quotes as it stands; several end a name at a semicolon.
PLAIN_FILENAME = re.compile(r"[\w!#$&'()*+,.@\[\]^`{}~-](?: ?[\w!#$&'()*+,.@\[\]^`{}~-])*", re.ASCII)
# RFC 2392, 2, as it is used: <logo> does, without the @ that it asks for.
CONTENT_ID = re.compile(r"<[!-;=?-~]+>")
EPOCH = datetime.fromtimestamp(0, UTC)
# What Message has a place of its own for, or what only the writer can know.
OWN_HEADERS = {
    "from",
    "to",
    "cc",
    "bcc",
    "subject",
    "reply-to",
    "date",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
}


@dataclass(frozen=True, slots=True)
class Wire:
    """A written message: its bytes, and the envelope to send them in."""

    source: bytes
    sender: Address
    recipients: tuple[Address, ...]
    subject: str
    message_id: str


@dataclass(frozen=True, slots=True)
class Part:
    """One MIME part: its header lines and its body, both ending in CRLF."""

    head: str
    body: bytes

    def __bytes__(self) -> bytes:
        return self.head.encode() + b"\r\n" + self.body


def write(message: Message) -> Wire:
    """Check *message* whole and write it; raise InvalidMessage, naming the culprit, where it can never be sent."""
    if not message.sender:
        text = "the message has no sender: pass sender=, or set MAIL_DEFAULT_SENDER"
        raise InvalidMessage(text)
    sender = address.parse(message.sender, "sender")
    to, cc, bcc = (_people(message, group) for group in ("recipients", "cc", "bcc"))
    everyone = {one.envelope: one for one in [*to, *cc, *bcc]}
    if not everyone:
        text = "the message has no recipient: give it at least one in recipients, cc or bcc"
        raise InvalidMessage(text)
    subject = "" if message.subject is None else _string(message.subject, "the subject")
    extra = _headers(message.extra_headers, "extra_headers")
    message_id = _message_id(extra, sender)
    body = _body(message)
    head = [
        _addresses("From", [sender]),
        _addresses("To", to),
        _addresses("Cc", cc),
        _addresses("Reply-To", [address.parse(message.reply_to, "reply_to")] if message.reply_to else []),
        field("Subject", subject) if subject else "",
        f"Date: {_date(message.date)}\r\n",
        f"Message-ID: {message_id}\r\n",
        *_extra(extra),
        "MIME-Version: 1.0\r\n",
        body.head,
        "\r\n",
    ]
    return Wire("".join(head).encode() + body.body, sender, tuple(everyone.values()), subject, message_id)


def _people(message: Message, group: str) -> list[Address]:
    given = getattr(message, group)
    if given is None:
        return []
    # A generator would be empty at the second look, and a string is a collection of letters.
    if isinstance(given, str | bytes) or not isinstance(given, Collection):
        text = f"{group} is {type(given).__name__}: give a list of addresses"
        raise InvalidMessage(text)
    return [address.parse(one, group.removesuffix("s")) for one in given]


def _string(value: object, what: str) -> str:
    """Return *value* as text; it may be a number, or a string that is translated late, but no bytes and no None."""
    if value is None or isinstance(value, bytes | bytearray | memoryview):
        message = f"{what} is {type(value).__name__}, not a string"
        raise InvalidMessage(message)
    return str(value)


def _utf8(text: str, what: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        message = f"{what} holds half a surrogate pair at position {error.start + 1}, which no encoding can carry: remove it"
        raise InvalidMessage(message) from error


def _date(seconds: float | None) -> str:
    text = f"the date is {seconds!r:.100}: give seconds since 1970, as time.time() does"
    try:
        moment = datetime.fromtimestamp(time.time() if seconds is None else seconds, UTC)
    except (TypeError, ValueError, OverflowError, OSError) as error:
        raise InvalidMessage(text) from error
    if moment < EPOCH:
        # Some readers know no time before.
        raise InvalidMessage(text)
    return format_datetime(moment)


def _message_id(extra: dict[str, str], sender: Address) -> str:
    name = next((name for name in extra if name.lower() == "message-id"), None)
    if name is None:
        return f"<{time.time_ns():x}.{secrets.token_hex(8)}@{sender.domain}>"
    given = extra.pop(name)
    if not MESSAGE_ID.fullmatch(given) or len(given) > LONGEST_MESSAGE_ID:
        text = (
            f"the header Message-ID is {given!r:.100}: it has to look like <something@a.domain>, in {LONGEST_MESSAGE_ID} characters"
        )
        raise InvalidMessage(text)
    return given


def _addresses(name: str, people: list[Address]) -> str:
    if not people:
        return ""
    words = [one.header(name) for one in people]
    return f"{name}: {fold([f'{word},' for word in words[:-1]] + words[-1:], len(name) + 2)}\r\n"


def _headers(given: Any, what: str) -> dict[str, str]:
    """Return header fields as a dict, from one or from pairs, as Flask-Mail takes them; no name may come twice."""
    try:
        pairs = [(_string(name, f"a name in {what}"), value) for name, value in dict(given or {}).items()]
    except (TypeError, ValueError) as error:
        message = f"{what} is {given!r:.100}: give a dict of names and values"
        raise InvalidMessage(message) from error
    names = [name.lower() for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        message = f"{what} holds {twice!r:.100} twice"
        raise InvalidMessage(message)
    return {name: _string(value, f"the header {name!r:.100}") for name, value in pairs}


def _extra(extra: dict[str, str]) -> list[str]:
    names = {name.lower() for name in extra}
    taken = sorted(names & OWN_HEADERS)
    if taken:
        text = (
            f"extra_headers holds {', '.join(taken)}: use the message's own arguments for that (bcc is never written into a header)"
        )
        raise InvalidMessage(text)
    # RFC 3834, 5: keeps vacation replies from answering a machine.
    automatic = [] if "auto-submitted" in names else ["Auto-Submitted: auto-generated\r\n"]
    return automatic + [field(name, value) for name, value in extra.items()]


def _body(message: Message) -> Part:
    html = message.html
    inline = [one for one in message.attachments if html is not None and _content_id(one)]
    # An empty text beside HTML would be all that a reader of plain text ever sees.
    readings = [] if message.body is None or (message.body == "" and message.alts) else [_text(message.body, "plain", "body")]
    for subtype, text in message.alts.items():
        part = _text(text, subtype, f"{subtype!r:.100}")
        if subtype == "html" and inline:
            part = _multipart("related", [part, *map(_attachment, inline)], 'type="text/html"')
        readings.append(part)
    if not readings:
        readings = [_text("", "plain", "body")]
    reading = readings[0] if len(readings) == 1 else _multipart("alternative", readings)
    files = [_attachment(one) for one in message.attachments if one not in inline]
    return _multipart("mixed", [reading, *files]) if files else reading


def _multipart(subtype: str, parts: list[Part], parameter: str = "") -> Part:
    boundary = f"=_{secrets.token_hex(16)}"
    head = f'Content-Type: multipart/{subtype};{FOLD}boundary="{boundary}"{parameter and f";{FOLD}{parameter}"}\r\n'
    # RFC 2046, 5.1.1: the line break before a boundary belongs to the boundary.
    line = f"\r\n--{boundary}".encode()
    return Part(head, (line + b"\r\n").join([b"", *map(bytes, parts)])[2:] + line + b"--\r\n")


def _text(text: str, subtype: str, what: str) -> Part:
    if not isinstance(text, str):
        message = f"{what} is {type(text).__name__}, not a string"
        raise InvalidMessage(message)
    if "\0" in text:
        message = f"{what} holds a NUL character, which mail cannot carry: remove it"
        raise InvalidMessage(message)
    text = LINE_BREAK.sub("\r\n", text) if "\r" in text else text.replace("\n", "\r\n")
    if not text.endswith("\r\n"):
        text += "\r\n"
    encoding, body = _encode(_utf8(text, what))
    kind = _content_type(f'text/{subtype}; charset="utf-8"', what)
    return Part(f"{kind}Content-Transfer-Encoding: {encoding}\r\n", body)


def _content_type(kind: str, what: str) -> str:
    """Return the header line for a content type, checked; a long one is folded."""
    parameters = [name.lower() for name, _ in PARAMETER.findall(kind)]
    if not CONTENT_TYPE.fullmatch(kind) or len(kind) > LONGEST_CONTENT_TYPE or len(set(parameters)) < len(parameters):
        message = f"{what} has the content type {kind!r:.100}: it has to look like type/subtype, or type/subtype; name=value"
        raise InvalidMessage(message)
    return f"Content-Type: {kind}\r\n" if len(kind) < SHORT else f"Content-Type: {kind.replace(';', ';' + FOLD)}\r\n"


def _encode(data: bytes) -> tuple[str, bytes]:
    foreign = 0 if data.isascii() else len(data) - len(data.decode().encode("ascii", "ignore"))
    if not foreign and _lines_fit(data):
        return "7bit", data
    if foreign * BASE64_FROM > len(data):
        return "base64", _base64(data)
    return "quoted-printable", binascii.b2a_qp(data, istext=True)


def _lines_fit(data: bytes) -> bool:
    return max(map(len, data.split(b"\r\n"))) <= LONGEST_LINE


def _base64(data: bytes) -> bytes:
    return base64.encodebytes(data).replace(b"\n", b"\r\n")


def _content_id(attachment: Attachment) -> bool:
    return any(name.lower() == "content-id" for name in _headers(attachment.headers, "headers"))


def _attachment(attachment: Attachment) -> Part:
    what = f"the attachment {attachment.filename or attachment.content_type!r:.100}"
    kind, data = _payload(attachment, what)
    disposition = attachment.disposition or "attachment"
    if disposition not in {"attachment", "inline"}:
        message = f"{what} has the disposition {disposition!r:.100}: it is 'attachment' or 'inline'"
        raise InvalidMessage(message)
    if kind.lower() == "message/rfc822" and (forwarded := _forwarded(data)):
        encoding, data = "7bit", forwarded
    else:
        # RFC 2046, 5.2.1 and 5.1: messages and multiparts must not be base64.
        kind = "application/octet-stream" if kind.lower().startswith(("message/", "multipart/")) else kind
        encoding, data = "base64", _base64(data)
    head = [
        _content_type(kind, what),
        f"Content-Transfer-Encoding: {encoding}\r\n",
        f"Content-Disposition: {disposition}{_filename(attachment.filename, what)}\r\n",
        *_part_headers(_headers(attachment.headers, f"headers of {what}"), what),
    ]
    return Part("".join(head), data)


def _payload(attachment: Attachment, what: str) -> tuple[str, bytes]:
    """Return what kind of data it is, and the data; a string is written in UTF-8, and says so."""
    kind, data = _string(attachment.content_type, f"the content type of {what}").strip(" "), attachment.data
    _content_type(kind, what)
    if isinstance(data, str):
        foreign = [f"; {name}={value}" for name, value in PARAMETER.findall(kind) if name.lower() != "charset"]
        return f'{kind.partition(";")[0].rstrip()}{"".join(foreign)}; charset="utf-8"', _utf8(data, what)
    if not isinstance(data, bytes | bytearray | memoryview):
        message = f"{what} is {type(data).__name__}: read it first, and pass bytes or a string"
        raise InvalidMessage(message)
    return kind, bytes(data)


def _forwarded(data: bytes) -> bytes | None:
    """Return a message that can be attached as such, or None for one with long lines, or more than ASCII."""
    data = LINE_BREAK_BYTES.sub(b"\r\n", data)
    clean = data.isascii() and b"\0" not in data and _lines_fit(data)
    return (data if data.endswith(b"\r\n") else data + b"\r\n") if clean else None


def _part_headers(headers: dict[str, str], what: str) -> list[str]:
    for name, value in headers.items():
        if name.lower() in {"content-type", "content-transfer-encoding", "content-disposition"}:
            message = f"{what} sets {name} by hand: use its own arguments for that"
            raise InvalidMessage(message)
        if name.lower() == "content-id" and not CONTENT_ID.fullmatch(value):
            message = f"{what} has the Content-ID {value!r:.100}: it has to look like <logo>, and is used as cid:logo"
            raise InvalidMessage(message)
    return [field(name, value) for name, value in headers.items()]


def _filename(name: str | None, what: str) -> str:
    """Return the filename parameter: quoted where it is short and plain, else by RFC 2231 in pieces of a line each."""
    if name is not None:
        name = _string(name, f"the filename of {what}")
        reject_controls(name, f"the filename of {what}")
        # Blanks around it are lost on some readers, and wanted by nobody.
        name = name.strip()
    if not name:
        return ""
    if PLAIN_FILENAME.fullmatch(name) and len(name) <= SHORT:
        return f';{FOLD}filename="{name}"'
    pieces = _pieces("utf-8''", [quote(character, safe="") for character in name])
    if len(pieces) == 1:
        return f";{FOLD}filename*={pieces[0]}"
    return "".join(f";{FOLD}filename*{number}*={piece}" for number, piece in enumerate(pieces))


def _pieces(piece: str, characters: list[str]) -> list[str]:
    """Join *characters* to pieces of a line each, beginning with *piece*; some readers decode each by itself."""
    pieces = []
    for character in characters:
        if len(piece) + len(character) > SHORT:
            pieces.append(piece)
            piece = ""
        piece += character
    return [*pieces, piece]
