"""The parts of a message: text, files and what holds them together, 7-bit clean and with CRLF everywhere.

By RFC 2045, 2046 and 2231. A field that could let something else in is refused, with its name.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..errors import InvalidMessage
from .header import field, reject_controls

if TYPE_CHECKING:
    from flask_mail import Attachment, Message

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
# What every reader takes from quotes as it stands; several end a name at a semicolon.
PLAIN_FILENAME = re.compile(r"[\w!#$&'()*+,.@\[\]^`{}~-](?: ?[\w!#$&'()*+,.@\[\]^`{}~-])*", re.ASCII)
# RFC 2392, 2, as it is used: <logo> does, without the @ that it asks for.
CONTENT_ID = re.compile(r"<[!-;=?-~]+>")


@dataclass(frozen=True, slots=True)
class Part:
    """One MIME part: its header lines and its body, both ending in CRLF."""

    head: str
    body: bytes

    def __bytes__(self) -> bytes:
        return self.head.encode() + b"\r\n" + self.body


def write_body(message: Message) -> Part:
    """Return everything below the message's own headers; raise InvalidMessage for what no reader could be given."""
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


def string(value: object, what: str) -> str:
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


def headers(given: Any, what: str) -> dict[str, str]:
    """Return header fields as a dict, from one or from pairs, as Flask-Mail takes them; no name may come twice."""
    try:
        pairs = [(string(name, f"a name in {what}"), value) for name, value in dict(given or {}).items()]
    except (TypeError, ValueError) as error:
        message = f"{what} is {given!r:.100}: give a dict of names and values"
        raise InvalidMessage(message) from error
    names = [name.lower() for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        message = f"{what} holds {twice!r:.100} twice"
        raise InvalidMessage(message)
    return {name: string(value, f"the header {name!r:.100}") for name, value in pairs}


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
    return any(name.lower() == "content-id" for name in headers(attachment.headers, "headers"))


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
        *_part_headers(headers(attachment.headers, f"headers of {what}"), what),
    ]
    return Part("".join(head), data)


def _payload(attachment: Attachment, what: str) -> tuple[str, bytes]:
    """Return what kind of data it is, and the data; a string is written in UTF-8, and says so."""
    kind, data = string(attachment.content_type, f"the content type of {what}").strip(" "), attachment.data
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
        name = string(name, f"the filename of {what}")
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
