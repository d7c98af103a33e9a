"""Store a mail merge in the outbox in chunks: one email for each recipient, and never two under the same key."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa

from ..errors import InvalidMessage
from ..message.address import parse
from ..message.writer import write
from ..origin import current_origin
from ..store.enqueue import content_values, envelope_values
from ..store.models import Priority, contents, emails

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flask_mail import Message
    from sqlalchemy.engine import Engine

    from ..message.writer import WrittenMessage
    from .merge import MailMerge
    from .recipients import Line

Value = TypeVar("Value")

# Most lines and, roughly, bytes in one transaction: few enough to hold SQLite's write lock only for milliseconds.
CHUNK = 200
CHUNK_BYTES = 1_000_000
# How many invalid lines are reported one by one.
MOST_COMPLAINTS = 20


def default_key(template: str, subject: str) -> str:
    """Return the key of the sending of *template* with *subject*.

    It does not depend on the file: a corrected or extended file must not send anybody a second copy.
    """
    digest = hashlib.sha256(f"{template}\n{subject}".encode()).hexdigest()
    return f"send-many:{template[:150]}:{digest[:12]}"


@dataclass
class Tally:
    """Count emails stored, lines whose address has this sending's email already, and invalid lines."""

    stored: int = 0
    skipped: int = 0
    invalid: int = 0
    complaints: list[str] = field(default_factory=list)

    def complain(self, line: Line, problem: str) -> None:
        """Count an invalid line; keep the problem of the first ones."""
        self.invalid += 1
        if len(self.complaints) < MOST_COMPLAINTS:
            self.complaints.append(f"{line.where}: {problem}")


@dataclass
class Sending:
    """One mail merge under one key. The unique index on key and recipient prevents a second copy to anybody.

    A *dry_run* renders and checks every email and stores none. ``first`` is the first message, for a preview.
    """

    engine: Engine
    merge: MailMerge
    key: str
    priority: int = Priority.BULK
    send_at: datetime | None = None
    dry_run: bool = False
    tally: Tally = field(default_factory=Tally, init=False)
    first: Message | None = field(default=None, init=False)
    # In a dry run, the recipients so far: the database does not know them.
    _pretended: set[str] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        """Raise InvalidMessage for an invalid key, time or priority."""
        self._envelope()

    @property
    def is_due(self) -> bool:
        """Return whether the emails go out as soon as they are stored."""
        return not self.dry_run and (self.send_at is None or self.send_at <= datetime.now(UTC))

    def run(self, lines: Iterable[Line]) -> Iterator[Tally]:
        """Store an email for each of *lines*, and yield the tally after the commit of each chunk.

        Raises InvalidMessage, with nothing stored, if the first line with a valid address cannot be rendered: then the template is
        the cause, not the line.
        """
        unread = iter(lines)
        while chunk := list(islice(unread, CHUNK)):
            for messages in self._write(self._missing(chunk)):
                self._store(messages)
            yield self.tally

    def _missing(self, chunk: list[Line]) -> dict[str, Line]:
        """Return the recipients without an email of this sending, each once, by the normalized address."""
        people: dict[str, Line] = {}
        for line in chunk:
            try:
                recipient = self._recipient(line)
            except InvalidMessage as error:
                self.tally.complain(line, str(error))
                continue
            if self.first is None:
                self._try_first(line)
            if recipient in people:
                self.tally.skipped += 1
            else:
                people[recipient] = line
        return self._without_the_stored(people)

    def _recipient(self, line: Line) -> str:
        if line.problem:
            raise InvalidMessage(line.problem)
        return parse(line.values["email"], "recipient").envelope

    def _try_first(self, line: Line) -> None:
        try:
            self.first = self.merge.compose(line.values["email"], line.values)
            write(self.first)
        except InvalidMessage as error:
            message = f"nothing was stored, because the first email ({line.where}) cannot be rendered: {error}"
            raise InvalidMessage(message) from error

    def _write(self, people: dict[str, Line]) -> Iterator[dict[str, WrittenMessage]]:
        """Yield the finished messages, in chunks for one transaction each; it holds no lock."""
        messages: dict[str, WrittenMessage] = {}
        size = 0
        for recipient, line in people.items():
            try:
                messages[recipient] = self.merge.write(line.values["email"], line.values, self.send_at)
            except InvalidMessage as error:
                self.tally.complain(line, str(error))
                continue
            size += len(messages[recipient].source)
            if size > CHUNK_BYTES:
                yield messages
                messages, size = {}, 0
        yield messages

    def _store(self, messages: dict[str, WrittenMessage]) -> None:
        """Store *messages* in one transaction, except those that another process has stored meanwhile."""
        while messages:
            try:
                if self.dry_run:
                    self._pretended |= messages.keys()
                else:
                    self._insert(messages)
            except sa.exc.IntegrityError:
                missing = self._without_the_stored(messages)
                if len(missing) == len(messages):
                    raise
                messages = missing
            else:
                self.tally.stored += len(messages)
                return

    def _insert(self, messages: dict[str, WrittenMessage]) -> None:
        envelope = self._envelope()
        # Sorted, so that two concurrent sendings cannot deadlock.
        ordered = sorted(messages.items())
        origin = current_origin()
        with self.engine.begin() as connection:
            ids = connection.scalars(
                sa.insert(contents).returning(contents.c.id, sort_by_parameter_order=True),
                [content_values(message, origin) for _, message in ordered],
            )
            rows = [
                {"content_id": content_id, "recipient": recipient, **envelope}
                for content_id, (recipient, _) in zip(ids, ordered, strict=True)
            ]
            # RETURNING makes it one statement for all rows; with several, psycopg warns of the rest after one fails.
            connection.execute(sa.insert(emails).returning(emails.c.id), rows)

    def _without_the_stored(self, people: dict[str, Value]) -> dict[str, Value]:
        """Count the recipients that have the email already, and return the others."""
        taken = sa.select(emails.c.recipient).where(emails.c.key == self.key, emails.c.recipient.in_(list(people)))
        with self.engine.connect() as connection:
            stored = set(connection.scalars(taken)) | (self._pretended & people.keys())
        self.tally.skipped += len(stored)
        return {recipient: value for recipient, value in people.items() if recipient not in stored}

    def _envelope(self) -> dict[str, Any]:
        return envelope_values(send_at=self.send_at, priority=self.priority, key=self.key, template=self.merge.template)
