"""The Maildir under ``instance/mailbox/``: what has arrived, as the mailbox pages show it."""

from __future__ import annotations

import email
import re
from dataclasses import dataclass
from email import policy
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage

NAME = re.compile(r"[0-9A-Za-z._=-]+")


@dataclass(frozen=True)
class Attachment:
    """A file that came with a mail."""

    number: int
    filename: str
    content_type: str
    size: int


@dataclass(frozen=True)
class Mail:
    """One mail that has arrived, read from its file."""

    path: Path

    @property
    def id(self) -> str:
        """Return what the mail's addresses are made of."""
        return self.path.name

    @cached_property
    def source(self) -> bytes:
        """Return the mail as it came over the wire."""
        return self.path.read_bytes()

    @cached_property
    def message(self) -> EmailMessage:
        """Return the mail as Python's parser reads it."""
        return email.message_from_bytes(self.source, policy=policy.default)

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Return the headers in their order, decoded."""
        return [(name, str(value)) for name, value in self.message.items()]

    def header(self, name: str) -> str:
        """Return one header, decoded; empty where there is none."""
        return str(self.message.get(name, ""))

    def body(self, kind: str) -> str | None:
        """Return the text of kind ``plain`` or ``html``."""
        part = self.message.get_body(preferencelist=(kind,))
        return str(part.get_content()) if part is not None else None

    @cached_property
    def _files(self) -> list[EmailMessage]:
        return [part for part in self.message.walk() if part.get_filename() or part.get("Content-ID")]

    @property
    def attachments(self) -> list[Attachment]:
        """Return the files that came along, the inline ones too."""
        return [
            Attachment(
                number, part.get_filename() or part["Content-ID"].strip("<>"), part.get_content_type(), len(self.file(number)[1])
            )
            for number, part in enumerate(self._files)
        ]

    def file(self, number: int) -> tuple[str, bytes]:
        """Return the name and the bytes of one attachment; IndexError where there is none."""
        part = self._files[number]
        payload = part.get_payload(decode=True)
        return part.get_filename() or f"part-{number}", payload if isinstance(payload, bytes) else b""

    def content_ids(self) -> Iterator[tuple[str, int]]:
        """Yield the Content-IDs of the inline images with their numbers."""
        for number, part in enumerate(self._files):
            if part.get("Content-ID"):
                yield part["Content-ID"].strip().strip("<>"), number


class Maildir:
    """The mails in *folder*; each file appears whole, by a rename."""

    def __init__(self, folder: Path) -> None:
        self._new = folder / "new"
        self._tmp = folder / "tmp"

    def create(self) -> None:
        """Make the folders that a Maildir has."""
        for folder in (self._tmp, self._new, self._new.parent / "cur"):
            folder.mkdir(parents=True, exist_ok=True)

    def add(self, name: str, source: bytes) -> None:
        """Keep one mail."""
        (self._tmp / name).write_bytes(source)
        (self._tmp / name).rename(self._new / name)

    def newest(self, limit: int = 100) -> list[Mail]:
        """Return the mails, newest first; their names begin with the time."""
        if not self._new.is_dir():
            return []
        return [Mail(path) for path in sorted(self._new.iterdir(), reverse=True)[:limit]]

    def get(self, mail_id: str) -> Mail | None:
        """Return one mail, or None; never a file from elsewhere."""
        path = self._new / mail_id
        return Mail(path) if NAME.fullmatch(mail_id) and path.is_file() else None
