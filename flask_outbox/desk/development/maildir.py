"""A Maildir on the disk: mail arrives in ``new/`` and moves to ``cur/`` once it is read (https://cr.yp.to/proto/maildir.html)."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ...message.parsing import parse_head
from ...message.reading import ReadMessage, clean

if TYPE_CHECKING:
    from collections.abc import Iterator

# A file name, without the flags that follow a colon; nothing that leads to another folder.
NAME = re.compile(r"[0-9A-Za-z._=-]+")
SEEN = ":2,S"
# A search looks at so many mails, the newest first, and at so many characters of each.
MOST_SEARCHED, LONGEST_SEARCHED = 1_000, 20_000


class Summary(NamedTuple):
    """What the list shows of a mail."""

    subject: str
    sender: str
    recipients: str
    date: str


@dataclass(frozen=True)
class Mail:
    """One received mail, in the file at *path*."""

    path: Path

    @property
    def id(self) -> str:
        """Return the file name without its flags, which the page URLs contain; it begins with the time."""
        return self.path.name.partition(":")[0]

    @property
    def is_unread(self) -> bool:
        """Return whether nobody has looked at it."""
        return self.path.parent.name == "new"

    @property
    def _paths(self) -> tuple[Path, Path]:
        """Return where the file is, and where it is once somebody else has read it."""
        return self.path, self._folder / "cur" / f"{self.id}{SEEN}"

    @property
    def source(self) -> bytes:
        """Return the mail as it was received, byte for byte; empty if it was deleted at this moment."""
        for path in self._paths:
            with suppress(FileNotFoundError):
                return path.read_bytes()
        return b""

    @property
    def received(self) -> datetime:
        """Return when it was received."""
        for path in self._paths:
            with suppress(FileNotFoundError):
                return datetime.fromtimestamp(path.stat().st_mtime, UTC)
        return datetime.now(UTC)

    @property
    def summary(self) -> Summary:
        """Return what the list shows."""
        return _summary(self)

    def contains(self, words: list[str]) -> bool:
        """Return whether each of the *words*, in lower case, is in the subject, an address or the text."""
        text = _searched(self)
        return all(word in text for word in words)

    def __eq__(self, other: object) -> bool:
        """Compare by name: a file never changes, but it moves when it is read."""
        return isinstance(other, Mail) and (self.id, self._folder) == (other.id, other._folder)

    def __hash__(self) -> int:
        return hash((self.id, self._folder))

    @property
    def _folder(self) -> Path:
        return self.path.parent.parent


@lru_cache(maxsize=2_000)
def _summary(mail: Mail) -> Summary:
    head = parse_head(mail.source)
    subject, sender, to, date, envelope = (clean(head.get(name, "")) for name in ("Subject", "From", "To", "Date", "X-Mailbox-To"))
    return Summary(subject, sender, to or envelope, date)


@lru_cache(maxsize=MOST_SEARCHED)
def _searched(mail: Mail) -> str:
    message = ReadMessage(mail.source)
    headers = (message.header(name) for name in ("Subject", "From", "To", "Cc", "Reply-To", "X-Mailbox-To"))
    return "\n".join([*headers, message.text or message.html or ""]).lower()[:LONGEST_SEARCHED]


class Maildir:
    """The Maildir in *folder*. A rename makes each file appear complete."""

    def __init__(self, folder: Path) -> None:
        self._new, self._cur, self._tmp = folder / "new", folder / "cur", folder / "tmp"

    def create(self) -> None:
        """Create its folders."""
        for folder in (self._tmp, self._new, self._cur):
            folder.mkdir(parents=True, exist_ok=True)

    def add(self, name: str, source: bytes) -> None:
        """Store one mail."""
        (self._tmp / name).write_bytes(source)
        (self._tmp / name).rename(self._new / name)

    def newest(self, limit: int = 100, search: str = "") -> list[Mail]:
        """Return the newest mails first: *limit* at most, which contain every word of *search*."""
        words = search.lower().split()
        found = sorted(self._all(), key=lambda mail: mail.id, reverse=True)[:MOST_SEARCHED]
        return [mail for mail in found if mail.contains(words)][:limit] if words else found[:limit]

    def count_unread(self) -> int:
        """Return how many mails nobody has looked at."""
        return sum(mail.is_unread for mail in self._all())

    def _all(self) -> Iterator[Mail]:
        for folder in (self._new, self._cur):
            if folder.is_dir():
                yield from (Mail(path) for path in folder.iterdir() if NAME.fullmatch(path.name.partition(":")[0]))

    def get(self, mail_id: str) -> Mail | None:
        """Return one mail or None; never a file outside the Maildir."""
        if not NAME.fullmatch(mail_id):
            return None
        for path in (self._new / mail_id, self._cur / f"{mail_id}{SEEN}", self._cur / mail_id):
            if path.is_file():
                return Mail(path)
        return None

    def mark_read(self, mail: Mail) -> Mail:
        """Move a mail to where the read ones are, and return it."""
        if not mail.is_unread:
            return mail
        path = self._cur / f"{mail.id}{SEEN}"
        # Another page may have done it at the same moment.
        with suppress(FileNotFoundError):
            self._cur.mkdir(exist_ok=True)
            mail.path.rename(path)
        return Mail(path)

    def delete(self, mail: Mail) -> None:
        """Delete one mail."""
        mail.path.unlink(missing_ok=True)

    def delete_all(self) -> None:
        """Delete every mail."""
        for mail in list(self._all()):
            self.delete(mail)
