"""Read the outbox for its operator: the newest emails, those to one address, and a summary."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.orm import Session

from ..health import slowdown_remarks
from ..models import Email, Health, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.engine import Engine


@dataclass(frozen=True)
class Overview:
    """How many emails have each status, since when the oldest has been due, and why none can be sent (None if they can).

    *remarks* say which workers the server has asked to slow down.
    """

    counts: dict[str, int]
    oldest_due: datetime | None
    health: Health | None
    remarks: list[str]

    @property
    def waiting(self) -> int:
        """Return how many emails are queued or being sent."""
        return self.counts.get(Status.QUEUED, 0) + self.counts.get(Status.SENDING, 0)


def overview(engine: Engine) -> Overview:
    """Return the state of the outbox."""
    counts = sa.select(Email.status, sa.func.count().label("number")).group_by(Email.status).order_by(Email.status)
    due = sa.select(sa.func.min(Email.due_since)).where(Email.status == Status.QUEUED, Email.send_at <= datetime.now(UTC))
    with Session(engine) as session:
        numbers = {row.status: row.number for row in session.execute(counts)}
        return Overview(numbers, session.scalar(due), session.get(Health, 1), slowdown_remarks(session.connection()))


def newest_emails(session: Session, limit: int, status: Status | None = None) -> Sequence[Email]:
    """Return the newest emails, or the newest with *status*."""
    query = sa.select(Email).order_by(Email.id.desc()).limit(limit)
    return session.scalars(query if status is None else query.where(Email.status == status)).all()


def newest_to(session: Session, address: str, limit: int) -> Sequence[Email]:
    """Return the newest emails to *address*, whatever the case of its letters.

    This reads every row, because the index on the recipient is case-sensitive; another index needs a migration.
    """
    # SQLite lowercases only ASCII, so compare the exact address as well.
    same = sa.or_(sa.func.lower(Email.recipient) == address.lower(), Email.recipient == address)
    return session.scalars(sa.select(Email).where(same).order_by(Email.id.desc()).limit(limit)).all()
