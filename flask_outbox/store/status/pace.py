"""Read how long emails take from their commit, or from when they became due, until the server has accepted them."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ..database.clock import database_now
from ..models import attempts, emails

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.engine import Connection, Engine

# So many accepted emails are looked at, the newest of the period,
SAMPLE = 1000
# among so many attempts.
MOST_ATTEMPTS = 50_000


@dataclass(frozen=True)
class DeliveryTime:
    """Of *count* emails, half were accepted within *median* seconds, and 95 of 100 within *p95*; *last* was the last acceptance."""

    count: int
    median: float
    p95: float
    last: datetime


def read_delivery_time(engine: Engine, period: timedelta) -> DeliveryTime | None:
    """Return how long the newest SAMPLE emails took that were accepted within *period*; None if none was.

    The time begins when an email becomes due. Usually that is when it was committed.
    """
    with engine.connect() as connection:
        rows = _newest_accepted(connection, database_now(connection) - period)
    if not rows:
        return None
    ends = [row.started_at + timedelta(seconds=row.seconds) for row in rows]
    seconds = [max((end - row.due_since).total_seconds(), 0.0) for end, row in zip(ends, rows, strict=True)]
    return DeliveryTime(len(rows), statistics.median(seconds), _percentile(seconds, 95), max(ends))


def _newest_accepted(connection: Connection, since: datetime) -> list[Any]:
    newest = connection.scalar(sa.select(sa.func.max(attempts.c.id))) or 0
    accepted = attempts.c.outcome == "sent", attempts.c.id > newest - MOST_ATTEMPTS, attempts.c.started_at >= since
    columns = attempts.c.email_id, attempts.c.started_at, attempts.c.seconds
    sample = sa.select(*columns).where(*accepted).order_by(attempts.c.id.desc()).limit(SAMPLE).subquery()
    query = sa.select(sample.c.started_at, sample.c.seconds, emails.c.due_since).join(emails, emails.c.id == sample.c.email_id)
    return list(connection.execute(query))


def _percentile(values: list[float], percent: int) -> float:
    """Return the value that *percent* of all do not exceed, by the nearest rank."""
    return sorted(values)[-(-len(values) * percent // 100) - 1]
