"""Read and write the Maildir in ``instance/mailbox/``."""

from __future__ import annotations

import email
import re
from dataclasses import dataclass
from email.policy import EmailPolicy
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage, MIMEPart

NAME = re.compile(r"[0-9A-Za-z._=-]+")


class LenientPolicy(EmailPolicy):
    """Python's header parser, with the raw text as a fallback, because the parser raises on some malformed mail."""

    def header_fetch_parse(self, name: str, value: str) -> Any:
        """Return the parsed header, or its raw text if it cannot be parsed."""
        try:
            return super().header_fetch_parse(name, value)
        except Exception:  # noqa: BLE001 - it raises IndexError, AttributeError, ValueError and more
            return "".join(value.splitlines()).encode("ascii", "replace").decode()


@dataclass(frozen=True)
class Attachment:
    """A file attached to a mail."""

    number: int
    filename: str
    size: int
    content_type: str


@dataclass(frozen=True)
class Mail:
    """One received mail, read from its file."""

    path: Path

    @property
    def id(self) -> str:
        """Return the file name, which the page URLs contain."""
        return self.path.name

    @cached_property
    def source(self) -> bytes:
        """Return the mail as it was received, byte for byte."""
        return self.path.read_bytes()

    @cached_property
    def message(self) -> EmailMessage:
        """Return the parsed mail."""
        return email.message_from_bytes(self.source, policy=LenientPolicy())  # type: ignore[arg-type] # a policy cannot be subscripted

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Return all headers in order, decoded."""
        return [(name, str(value)) for name, value in self.message.items()]

    def header(self, name: str) -> str:
        """Return one header, decoded; empty if it is missing."""
        return str(self.message.get(name, ""))

    def body(self, kind: str) -> str | None:
        """Return the ``plain`` or ``html`` body, or None."""
        part = self.message.get_body(preferencelist=(kind,))
        if part is None:
            return None
        try:
            return str(part.get_content())
        except (LookupError, ValueError):  # an unknown charset
            return _payload(part).decode("utf-8", "replace")

    @cached_property
    def _files(self) -> list[MIMEPart]:
        return [part for part in _leaves(self.message) if _is_file(part)]

    @property
    def attachments(self) -> list[Attachment]:
        """Return the attachments, including inline files."""
        return [self._describe(number) for number in range(len(self._files))]

    def _describe(self, number: int) -> Attachment:
        name, data = self.file(number)
        return Attachment(number, name, len(data), self._files[number].get_content_type())

    def file(self, number: int) -> tuple[str, bytes]:
        """Return the name and the bytes of one attachment; raise IndexError if it does not exist."""
        part = self._files[number]
        name = "".join(character for character in part.get_filename() or _content_id(part) if character.isprintable())
        return name or f"part-{number}", _payload(part)

    def content_ids(self) -> dict[str, int]:
        """Return the number of each file that has a Content-ID, by which the HTML can show it."""
        return {_content_id(part): number for number, part in enumerate(self._files) if _content_id(part)}


def _leaves(message: MIMEPart) -> Iterator[MIMEPart]:
    """Yield every part that is no container; a forwarded message counts as one part."""
    if message.get_content_maintype() == "multipart" and message.is_multipart():
        for part in message.iter_parts():
            yield from _leaves(part)
    else:
        yield message


def _is_file(part: MIMEPart) -> bool:
    is_text = part.get_content_type() in {"text/plain", "text/html"} or part.get_content_maintype() == "multipart"
    return not is_text or part.is_attachment() or bool(part.get_filename() or _content_id(part))


def _content_id(part: MIMEPart) -> str:
    return str(part.get("Content-ID", "")).strip().strip("<>")


def _payload(part: MIMEPart) -> bytes:
    if part.is_multipart():
        return b"".join(bytes(inner) for inner in part.iter_parts())
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


class Maildir:
    """A Maildir at *folder*. A rename makes each file appear complete."""

    def __init__(self, folder: Path) -> None:
        self._new = folder / "new"
        self._tmp = folder / "tmp"

    def create(self) -> None:
        """Create the folders of a Maildir."""
        for folder in (self._tmp, self._new, self._new.parent / "cur"):
            folder.mkdir(parents=True, exist_ok=True)

    def add(self, name: str, source: bytes) -> None:
        """Store one mail."""
        (self._tmp / name).write_bytes(source)
        (self._tmp / name).rename(self._new / name)

    def newest(self, limit: int = 100) -> list[Mail]:
        """Return the newest mails first; their file names begin with the time."""
        if not self._new.is_dir():
            return []
        return [Mail(path) for path in sorted(self._new.iterdir(), reverse=True)[:limit]]

    def get(self, mail_id: str) -> Mail | None:
        """Return one mail or None; never a file outside the Maildir."""
        path = self._new / mail_id
        return Mail(path) if NAME.fullmatch(mail_id) and path.is_file() else None
