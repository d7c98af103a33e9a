"""A large sending: one personal email for each line of a sheet, stored in chunks, and never twice for the same key."""

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
from ..store.enqueue import content_values, envelope_values
from ..store.models import Priority, contents, emails

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flask_mail import Message
    from sqlalchemy.engine import Engine

    from ..message.writer import Wire
    from .merge import MailMerge
    from .recipients import Line

Value = TypeVar("Value")

# So many lines in one transaction, and about so many bytes: SQLite's one write lock is held for milliseconds.
CHUNK = 200
CHUNK_BYTES = 1_000_000
# So many bad lines are told one by one.
MOST_COMPLAINTS = 20


def default_key(template: str, subject: str) -> str:
    """Return the name of the sending of *template* under *subject*.

    The file is not in it: one that was corrected or went on growing must not send everybody a second copy.
    """
    digest = hashlib.sha256(f"{template}\n{subject}".encode()).hexdigest()
    return f"send-many:{template[:150]}:{digest[:12]}"


@dataclass
class Tally:
    """How a sending stands: emails stored, lines whose address has the mail already, and lines that make no email."""

    stored: int = 0
    there: int = 0
    bad: int = 0
    complaints: list[str] = field(default_factory=list)

    def complain(self, line: Line, problem: str) -> None:
        """Count a bad line, and keep what is wrong with it if it is among the first."""
        self.bad += 1
        if len(self.complaints) < MOST_COMPLAINTS:
            self.complaints.append(f"{line.where}: {problem}")


@dataclass
class Sending:
    """One draft for many people, under one key; the database's own constraint on key and recipient lets nobody have it twice.

    With *dry_run* everything is made and nothing is stored. ``first`` is the first mail, for whoever wants to look at it.
    """

    engine: Engine
    merge: MailMerge
    key: str
    priority: int = Priority.BULK
    send_at: datetime | None = None
    dry_run: bool = False
    tally: Tally = field(default_factory=Tally, init=False)
    first: Message | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Raise InvalidMessage for a key or a time that cannot be."""
        self._envelope()

    @property
    def is_due(self) -> bool:
        """Return whether what is stored now should go out now."""
        return not self.dry_run and (self.send_at is None or self.send_at <= datetime.now(UTC))

    def run(self, lines: Iterable[Line]) -> Iterator[Tally]:
        """Store an email for each of *lines*, and yield the tally after each chunk, which has been committed by then.

        Raises InvalidMessage, and has stored nothing, where no mail can be made of the first line that has an address: then the
        template is wrong, and not the line.
        """
        rest = iter(lines)
        while chunk := list(islice(rest, CHUNK)):
            for wires in self._write(self._missing(chunk)):
                self._store(wires)
            yield self.tally

    def _missing(self, chunk: list[Line]) -> dict[str, Line]:
        """Return who has no email of this sending yet, each once, by the one spelling of her address."""
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
                self.tally.there += 1
            else:
                people[recipient] = line
        return self._without_those_there(people)

    def _recipient(self, line: Line) -> str:
        if line.problem:
            raise InvalidMessage(line.problem)
        return parse(line.values["email"], "recipient").envelope

    def _try_first(self, line: Line) -> None:
        try:
            self.first = self.merge.compose(line.values["email"], line.values)
            write(self.first)
        except InvalidMessage as error:
            message = f"nothing was stored, because the first mail ({line.where}) cannot be made: {error}"
            raise InvalidMessage(message) from error

    def _write(self, people: dict[str, Line]) -> Iterator[dict[str, Wire]]:
        """Yield the finished messages, as many at a time as one transaction should store; no lock is held meanwhile."""
        wires: dict[str, Wire] = {}
        size = 0
        for recipient, line in people.items():
            try:
                wires[recipient] = write(self.merge.compose(line.values["email"], line.values))
            except InvalidMessage as error:
                self.tally.complain(line, str(error))
                continue
            size += len(wires[recipient].source)
            if size > CHUNK_BYTES:
                yield wires
                wires, size = {}, 0
        yield wires

    def _store(self, wires: dict[str, Wire]) -> None:
        """Store *wires* in one transaction, but for those that somebody else stores at the same moment."""
        while wires:
            try:
                if not self.dry_run:
                    self._insert(wires)
            except sa.exc.IntegrityError:
                missing = self._without_those_there(wires)
                if len(missing) == len(wires):
                    raise
                wires = missing
            else:
                self.tally.stored += len(wires)
                return

    def _insert(self, wires: dict[str, Wire]) -> None:
        envelope = self._envelope()
        # In one order for all, so that two sendings at once never wait for each other's rows in a circle.
        ordered = sorted(wires.items())
        with self.engine.begin() as connection:
            ids = connection.scalars(
                sa.insert(contents).returning(contents.c.id, sort_by_parameter_order=True),
                [content_values(wire) for _, wire in ordered],
            )
            rows = [
                {"content_id": content_id, "recipient": recipient, **envelope}
                for content_id, (recipient, _) in zip(ids, ordered, strict=True)
            ]
            # With RETURNING it is one statement for all; without, psycopg would warn of the rest after one that fails.
            connection.execute(sa.insert(emails).returning(emails.c.id), rows)

    def _without_those_there(self, people: dict[str, Value]) -> dict[str, Value]:
        """Count who has the email already, and return the others."""
        taken = sa.select(emails.c.recipient).where(emails.c.key == self.key, emails.c.recipient.in_(list(people)))
        with self.engine.connect() as connection:
            there = set(connection.scalars(taken))
        self.tally.there += len(there)
        return {recipient: value for recipient, value in people.items() if recipient not in there}

    def _envelope(self) -> dict[str, Any]:
        return envelope_values(send_at=self.send_at, expires_at=None, priority=self.priority, key=self.key)
