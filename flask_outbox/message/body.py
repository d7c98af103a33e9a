"""Write the body of a message: text, HTML, attachments and the multiparts around them, by RFC 2045, 2046 and 2231.

Everything is 7-bit clean and ends its lines with CRLF. InvalidMessage names each field with a value that cannot be sent.
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
from .header import as_text, field, is_text, reject_controls, unfold

if TYPE_CHECKING:
    from flask_mail import Attachment, Message

# RFC 5322, 2.1.1 allows 998 characters; but some servers count the CRLF, or make a line longer.
LONGEST_LINE = 990
# If more than one byte in six is not ASCII, base64 is shorter than quoted-printable.
BASE64_RATIO = 6
LINE_BREAK = re.compile(r"\r\n|\r|\n")
LINE_BREAK_BYTES = re.compile(rb"\r\n|\r|\n")
# A longer content type is folded before each parameter, and a longer filename is split into pieces.
SHORT = 60
FOLD = "\r\n "
# Ruby's mail puts the tenth piece of a filename behind the first, so there are at most nine, if necessary on longer lines.
MOST_PIECES = 9
LONGEST_PIECE = 900
# RFC 2045, 5.1, and RFC 6838, 4.2: each value is a token, or quoted text without escapes; no registered type needs more.
CONTENT_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+( *; *[\w.-]+=(\"[ !#-\[\]-~]*\"|[\w!#$%&'*+.^`{|}~-]+))*", re.ASCII)
PARAMETER = re.compile(r" *; *([\w.-]+)=(\"[^\"]*\"|[^ ;]+)", re.ASCII)
LONGEST_CONTENT_TYPE = 250
# Filenames that every reader understands in quotes. A semicolon is not among the characters: some readers cut the name there.
PLAIN_FILENAME = re.compile(r"[\w!#$&'()*+,.@\[\]^`{}~-](?: ?[\w!#$&'()*+,.@\[\]^`{}~-])*", re.ASCII)
# RFC 2392, 2 asks for an @ inside, but every reader accepts <logo> too.
CONTENT_ID = re.compile(r"<[!-;=?-~]+>")


@dataclass(frozen=True, slots=True)
class BodyPart:
    """A body part, as RFC 2045 calls it: its header lines and its content, both with CRLF at the end."""

    head: str
    content: bytes

    def __bytes__(self) -> bytes:
        return self.head.encode() + b"\r\n" + self.content


def write_body(message: Message) -> BodyPart:
    """Write the texts and attachments of *message*; raise InvalidMessage for a value that cannot be sent."""
    html = message.html
    inline = [attachment for attachment in message.attachments if html is not None and _has_content_id(attachment)]
    # Leave out an empty plain text beside HTML: a reader that prefers plain text would show an empty mail.
    alternatives = [] if message.body is None or (message.body == "" and message.alts) else [_text(message.body, "plain", "body")]
    for subtype, content in message.alts.items():
        part = _text(content, subtype, f"{subtype!r:.100}")
        if subtype == "html" and inline:
            part = _multipart("related", [part, *map(_attachment, inline)], 'type="text/html"')
        alternatives.append(part)
    if not alternatives:
        alternatives = [_text("", "plain", "body")]
    text = alternatives[0] if len(alternatives) == 1 else _multipart("alternative", alternatives)
    files = [_attachment(attachment) for attachment in message.attachments if attachment not in inline]
    return _multipart("mixed", [text, *files]) if files else text


def _utf8(text: str, what: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        message = f"{what} holds half a surrogate pair at position {error.start + 1}, which no encoding can carry: remove it"
        raise InvalidMessage(message) from error


def as_headers(given: Any, what: str) -> dict[str, str]:
    """Return header fields as a dict of unfolded strings; like Flask-Mail, take a dict or pairs. No name may occur twice."""
    try:
        pairs = [(as_text(name, f"a name in {what}"), value) for name, value in dict(given or {}).items()]
    except (TypeError, ValueError) as error:
        message = f"{what} is {given!r:.100}: give a dict of names and values"
        raise InvalidMessage(message) from error
    names = [name.lower() for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        message = f"{what} holds {twice!r:.100} twice"
        raise InvalidMessage(message)
    return {name: unfold(as_text(value, f"the header {name!r:.100}")) for name, value in pairs}


def _multipart(subtype: str, parts: list[BodyPart], parameter: str = "") -> BodyPart:
    boundary = f"=_{secrets.token_hex(16)}"
    head = f'Content-Type: multipart/{subtype};{FOLD}boundary="{boundary}"{parameter and f";{FOLD}{parameter}"}\r\n'
    # RFC 2046, 5.1.1: the line break before a boundary belongs to the boundary.
    line = f"\r\n--{boundary}".encode()
    return BodyPart(head, (line + b"\r\n").join([b"", *map(bytes, parts)])[2:] + line + b"--\r\n")


def _text(text: str, subtype: str, what: str) -> BodyPart:
    if not is_text(text):
        message = f"{what} is {type(text).__name__}, not a string"
        raise InvalidMessage(message)
    text = str(text)
    if "\0" in text:
        message = f"{what} holds a NUL character, which mail cannot carry: remove it"
        raise InvalidMessage(message)
    text = LINE_BREAK.sub("\r\n", text) if "\r" in text else text.replace("\n", "\r\n")
    if not text.endswith("\r\n"):
        text += "\r\n"
    encoding, body = _encode(_utf8(text, what))
    kind = _content_type(f'text/{subtype}; charset="utf-8"', what)
    return BodyPart(f"{kind}Content-Transfer-Encoding: {encoding}\r\n", body)


def _content_type(kind: str, what: str) -> str:
    """Return the Content-Type header for *kind*, folded if it is long; raise InvalidMessage if it is malformed."""
    parameters = [name.lower() for name, _ in PARAMETER.findall(kind)]
    if not CONTENT_TYPE.fullmatch(kind) or len(kind) > LONGEST_CONTENT_TYPE or len(set(parameters)) < len(parameters):
        message = f"{what} has the content type {kind!r:.100}: it has to look like type/subtype, or type/subtype; name=value"
        raise InvalidMessage(message)
    return f"Content-Type: {kind}\r\n" if len(kind) < SHORT else f"Content-Type: {kind.replace(';', ';' + FOLD)}\r\n"


def _encode(data: bytes) -> tuple[str, bytes]:
    foreign = 0 if data.isascii() else len(data) - len(data.decode().encode("ascii", "ignore"))
    if not foreign and _lines_fit(data):
        return "7bit", data
    if foreign * BASE64_RATIO > len(data):
        return "base64", _base64(data)
    return "quoted-printable", binascii.b2a_qp(data, istext=True)


def _lines_fit(data: bytes) -> bool:
    return max(map(len, data.split(b"\r\n"))) <= LONGEST_LINE


def _base64(data: bytes) -> bytes:
    return base64.encodebytes(data).replace(b"\n", b"\r\n")


def _has_content_id(attachment: Attachment) -> bool:
    return any(name.lower() == "content-id" for name in as_headers(attachment.headers, "headers"))


def _attachment(attachment: Attachment) -> BodyPart:
    what = f"the attachment {attachment.filename or attachment.content_type!r:.100}"
    kind, data = _payload(attachment, what)
    disposition = attachment.disposition or "attachment"
    if disposition not in {"attachment", "inline"}:
        message = f"{what} has the disposition {disposition!r:.100}: it is 'attachment' or 'inline'"
        raise InvalidMessage(message)
    if kind.lower() == "message/rfc822" and (forwarded := _forwarded(data)):
        encoding, data = "7bit", forwarded
    else:
        # RFC 2046, 5.2.1 and 5.1 forbid base64 for messages and multiparts.
        kind = "application/octet-stream" if kind.lower().startswith(("message/", "multipart/")) else kind
        encoding, data = "base64", _base64(data)
    head = [
        _content_type(kind, what),
        f"Content-Transfer-Encoding: {encoding}\r\n",
        f"Content-Disposition: {disposition}{_filename(attachment.filename, what)}\r\n",
        *_part_headers(as_headers(attachment.headers, f"headers of {what}"), what),
    ]
    return BodyPart("".join(head), data)


def _payload(attachment: Attachment, what: str) -> tuple[str, bytes]:
    """Return the content type and the data of an attachment; a string is encoded as UTF-8, and its charset is set to that."""
    kind, data = as_text(attachment.content_type, f"the content type of {what}").strip(" "), attachment.data
    _content_type(kind, what)
    if isinstance(data, str):
        foreign = [f"; {name}={value}" for name, value in PARAMETER.findall(kind) if name.lower() != "charset"]
        return f'{kind.partition(";")[0].rstrip()}{"".join(foreign)}; charset="utf-8"', _utf8(data, what)
    if not isinstance(data, bytes | bytearray | memoryview):
        message = f"{what} is {type(data).__name__}: read it first, and pass bytes or a string"
        raise InvalidMessage(message)
    return kind, bytes(data)


def _forwarded(data: bytes) -> bytes | None:
    """Return *data* if it can be attached as a message: ASCII, without long lines; None if it cannot."""
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
    """Return the filename parameter: in quotes if it is short and plain, otherwise by RFC 2231, in pieces of one line each."""
    if name is not None:
        name = as_text(name, f"the filename of {what}")
        reject_controls(name, f"the filename of {what}")
        # Some readers lose spaces around it, and nobody wants them.
        name = name.strip()
    if not name:
        return ""
    if PLAIN_FILENAME.fullmatch(name) and len(name) <= SHORT:
        return f';{FOLD}filename="{name}"'
    characters = [quote(character, safe="") for character in name]
    width = max(SHORT, min(sum(map(len, characters)) // (MOST_PIECES - 1), LONGEST_PIECE))
    pieces = _pieces("utf-8''", characters, width)
    if len(pieces) == 1:
        return f";{FOLD}filename*={pieces[0]}"
    return "".join(f";{FOLD}filename*{number}*={piece}" for number, piece in enumerate(pieces))


def _pieces(piece: str, characters: list[str], width: int) -> list[str]:
    """Join *characters* into pieces of up to *width*; the first begins with *piece*. No character is cut in two.

    Some readers decode each piece by itself.
    """
    pieces = []
    for character in characters:
        if len(piece) + len(character) > width:
            pieces.append(piece)
            piece = ""
        piece += character
    return [*pieces, piece]
