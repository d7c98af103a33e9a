"""Narrow a search in time to a range of ids, because ids grow with time and no index is on times."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from ...models import emails

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.engine import Connection

    from .query import Query

# An email takes its id when it is enqueued, and transactions commit in another order: so much later, at most, was a smaller id
# enqueued.
SLACK = timedelta(hours=1)
# So many ids are as quick to search as to narrow down.
NEAR = 1000


class Range(NamedTuple):
    """The ids from *low* to *high*; false if there is none."""

    low: int
    high: int

    def __bool__(self) -> bool:
        return self.low <= self.high

    def below(self, limit: int | None) -> Range:
        """Return the part below *limit*, or all of it."""
        return self if limit is None else Range(self.low, min(self.high, limit - 1))

    def above(self, limit: int) -> Range:
        """Return the part above *limit*."""
        return Range(max(self.low, limit + 1), self.high)


def id_range(connection: Connection, query: Query) -> Range:
    """Return the ids between which *query* can find something; emails outside its times may be between them."""
    first, last = (connection.scalar(sa.select(limit(emails.c.id))) for limit in (sa.func.min, sa.func.max))
    if first is None or last is None:
        return Range(0, -1)
    low, high = first, last
    for term in query.named("after"):
        low = max(low, _around(connection, term.value - SLACK, Range(first, last)).low)
    for term in query.named("before"):
        high = min(high, _around(connection, term.value + SLACK, Range(first, last)).high)
    return Range(low, high)


def _around(connection: Connection, moment: datetime, ids: Range) -> Range:
    """Return up to NEAR ids around *moment*: before them all emails are older, after them none is, give or take the slack."""
    low, high = ids.low, ids.high + 1
    while high - low > NEAR:
        middle = (low + high) // 2
        row = connection.execute(NEXT, {"least": middle}).one_or_none()
        if row is None or row.created_at >= moment:
            high = middle
        else:
            low = row.id + 1
    return Range(low, high)


NEXT = sa.select(emails.c.id, emails.c.created_at).where(emails.c.id >= sa.bindparam("least")).order_by(emails.c.id).limit(1)
