"""Read a message as its recipient does: decoded headers, both halves, files, and the links of both halves."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

from .links import Link, find_links
from .parsing import POLICY, leaves, parse_message, payload_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage, MIMEPart

# Most characters of a half, and most headers and files, that are shown; the source has all of them.
LONGEST_TEXT = 200_000
LONGEST_HTML = 2_000_000
MOST_HEADERS, MOST_FILES = 300, 200
LONGEST_NAME = 120
HALVES = {"text/plain": "text", "text/html": "html"}
# What a browser may show without running anything. Not SVG, which may hold scripts.
PICTURES = {"image/png", "image/jpeg", "image/gif", "image/webp"}
CONTENT_TYPE = re.compile(r"[\w.+-]{1,60}/[\w.+-]{1,60}", re.ASCII)


@dataclass(frozen=True)
class File:
    """A file of a message, attached or inline; *content_id* is what the HTML refers to it by, or empty."""

    number: int
    name: str
    content_type: str
    content_id: str
    size: int

    @property
    def is_picture(self) -> bool:
        """Return whether a browser may show it."""
        return self.content_type in PICTURES


class ReadMessage:
    """The message in *source*, which may be anything; nothing here raises because of what it holds."""

    def __init__(self, source: bytes) -> None:
        self.source = source

    @cached_property
    def _message(self) -> EmailMessage:
        return parse_message(self.source)

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Return the headers in order, decoded."""
        first = islice(self._message.raw_items(), MOST_HEADERS)
        return [(clean(name), clean(POLICY.header_fetch_parse(name, value))) for name, value in first]

    def header(self, name: str) -> str:
        """Return one header, decoded; empty if it is missing."""
        return clean(self._message.get(name, ""))

    @cached_property
    def _parts(self) -> tuple[dict[str, MIMEPart], list[MIMEPart]]:
        """Return the two halves, and the files: every other part, so that nothing is left out."""
        halves: dict[str, MIMEPart] = {}
        files: list[MIMEPart] = []
        for part in leaves(self._message):
            half = _half(part)
            if half and half not in halves:
                halves[half] = part
            else:
                files.append(part)
        return halves, files

    @cached_property
    def text(self) -> str | None:
        """Return the text, up to LONGEST_TEXT; None if the message has none."""
        return self._read("text", LONGEST_TEXT)

    @cached_property
    def html(self) -> str | None:
        """Return the HTML, up to LONGEST_HTML; None if the message has none."""
        return self._read("html", LONGEST_HTML)

    def _read(self, half: str, longest: int) -> str | None:
        part = self._parts[0].get(half)
        return None if part is None else _decode(part)[:longest]

    @cached_property
    def files(self) -> list[File]:
        """Return the files, MOST_FILES at most."""
        return [_describe(number, part) for number, part in enumerate(self._parts[1][:MOST_FILES])]

    @property
    def number_of_files(self) -> int:
        """Return how many files there are, those that are not listed included."""
        return len(self._parts[1])

    def file(self, number: int) -> tuple[File, bytes] | None:
        """Return a file and its bytes; None if there is none with this *number*."""
        parts = self._parts[1][:MOST_FILES]
        return (_describe(number, parts[number]), payload_of(parts[number])) if 0 <= number < len(parts) else None

    def pictures(self) -> Iterator[tuple[File, bytes]]:
        """Yield each picture that the HTML can refer to, with its bytes."""
        for file in self.files:
            if file.content_id and file.is_picture:
                yield file, payload_of(self._parts[1][file.number])

    @cached_property
    def links(self) -> list[Link]:
        """Return the different links of both halves."""
        return find_links(self.html or "", self.text or "")


def clean(value: object) -> str:
    """Return *value* as text that can be encoded, without line breaks."""
    return " ".join(str(value).encode("utf-8", "replace").decode().splitlines())


def safe_name(name: str) -> str:
    """Return *name* as a file may be called that is saved: without folders, controls, or a dot in front."""
    base = posixpath.basename(name.replace("\\", "/"))
    printable = "".join(character for character in base if character.isprintable() and character not in '<>:"|?*')
    stem, dot, ending = printable.strip(" .").rpartition(".")
    return f"{stem[:LONGEST_NAME]}{dot}{ending[:LONGEST_NAME]}"


def _half(part: MIMEPart) -> str | None:
    """Return which half of the message *part* may be; None for a file."""
    if part.get_content_maintype() == "multipart":
        return "text"  # a container that has no parts
    if part.get_content_disposition() == "attachment" or _name(part) or _content_id(part):
        return None
    return HALVES.get(part.get_content_type())


def _decode(part: MIMEPart) -> str:
    if part.is_multipart():
        return ""
    charset = str(part.get_content_charset() or "utf-8")
    try:
        text = payload_of(part).decode(charset, "replace")
    except (LookupError, ValueError):  # an unknown charset
        text = payload_of(part).decode("utf-8", "replace")
    return text.encode("utf-8", "replace").decode()


def _describe(number: int, part: MIMEPart) -> File:
    content_type = part.get_content_type()
    known = content_type if CONTENT_TYPE.fullmatch(content_type) else "application/octet-stream"
    name = safe_name(_name(part) or _content_id(part)) or f"part-{number}"
    return File(number, name, known, _content_id(part), len(payload_of(part)))


def _name(part: MIMEPart) -> str:
    try:
        return clean(part.get_filename() or "")
    except Exception:  # noqa: BLE001 - the parser of parameters raises all kinds of errors on malformed mail
        return ""


def _content_id(part: MIMEPart) -> str:
    return clean(part.get("Content-ID", "")).strip().strip("<>")
