"""Read what is due: how many emails, and since when the oldest is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ..database.clock import database_now
from ..models import emails
from ..statements import is_queued

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy.engine import Connection, Engine

# Counting stops here, because counting a million rows takes 100 ms.
MOST_COUNTED = 100_000


@dataclass(frozen=True)
class Waiting:
    """How many emails are *due*, up to MOST_COUNTED of each priority, and since when the *oldest* is; None if none is."""

    due: int = 0
    oldest: datetime | None = None


def read_waiting(engine: Engine) -> Waiting:
    """Read what is due: a search of the index for each priority, however many emails are scheduled for later."""
    with engine.connect() as connection:
        now = database_now(connection)
        found = [_read_priority(connection, priority, now) for priority in _priorities(connection)]
    return Waiting(sum(one.due for one in found), min((one.oldest for one in found if one.oldest), default=None))


def _priorities(connection: Connection) -> Iterator[int]:
    """Yield each priority of which there are queued emails, the most urgent first."""
    queued, priority = is_queued(connection.dialect), emails.c.priority
    query = sa.select(priority).where(queued).order_by(priority).limit(1)
    found = connection.scalar(query)
    while found is not None:
        yield found
        found = connection.scalar(query.where(priority > found))


def _read_priority(connection: Connection, priority: int, now: datetime) -> Waiting:
    due = is_queued(connection.dialect), emails.c.priority == priority, emails.c.send_at <= now
    some = sa.select(emails.c.send_at).where(*due).order_by(emails.c.send_at).limit(MOST_COUNTED).subquery()
    number = connection.scalars(sa.select(sa.func.count()).select_from(some)).one()
    oldest = connection.scalar(sa.select(emails.c.send_at).where(*due).order_by(emails.c.send_at).limit(1))
    return Waiting(number, oldest)
