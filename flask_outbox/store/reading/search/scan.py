"""Find the emails that a search asks for, and count them, exactly and for a limited time; what is left is found from there on.

What an index serves is found by it. Anything else is checked email by email, in windows of ids, each as large as can be searched in
WINDOW seconds. So a search neither misses an email nor finds it twice, however many there are, and says where it has stopped.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from ...models import emails
from .bounds import Range, id_range
from .conditions import routes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection

    from .conditions import Route
    from .query import Query

# How many emails the first window has, and the largest, and how long one should take, in seconds.
FIRST_WINDOW, LARGEST_WINDOW, WINDOW = 1000, 10_000, 0.01
# A window that is much larger than the last one could take much longer: its emails may be more expensive.
MOST_GROWTH = 2.0
# So many emails of each route are counted, to take the one with the fewest; more of one key are not sorted by id.
PROBE = 2000


class Found(NamedTuple):
    """The *ids* that were found, newest first; *reached* is the last id that was searched if there may be more, else None."""

    ids: list[int]
    reached: int | None


class Number(NamedTuple):
    """How many emails were counted; *reached* is the last id that was counted if there may be more, else None."""

    value: int
    reached: int | None


class Window(NamedTuple):
    """A range of *ids*, with a *number* of emails on the route, and the range that is *left* after it."""

    ids: Range
    number: int
    left: Range


class Search:
    """The search for *query* on *connection*."""

    def __init__(self, connection: Connection, query: Query) -> None:
        self._connection = connection
        self._ids = id_range(connection, query)
        self._route = self._choose(routes(query))

    @property
    def newest(self) -> int:
        """Return the largest id that was there when the search began, and that it can find; 0 if there is none."""
        return max(self._ids.high, 0)

    def find(self, limit: int, seconds: float, *, below: int | None = None) -> Found:
        """Return the newest emails, up to *limit*, in about *seconds*; if *below* is given, with smaller ids than that."""
        return self._find(self._ids.below(below), limit, seconds, is_up=False)

    def find_above(self, above: int, limit: int, seconds: float) -> Found:
        """Return the next emails with ids *above* that, up to *limit*, in about *seconds*."""
        found = self._find(self._ids.above(above), limit, seconds, is_up=True)
        return Found(found.ids[::-1], found.reached)

    def count(self, seconds: float, *, below: int | None = None) -> Number:
        """Return how many emails there are, as far as one can count in about *seconds*; *below* as for ``find``."""
        number, reached = 0, None
        for window in self._windows(self._ids.below(below), seconds, is_up=False):
            number += window.number if self._route.rest is None else self._count(window.ids)
            reached = window.ids.low if window.left else None
        return Number(number, reached)

    def _find(self, ids: Range, limit: int, seconds: float, *, is_up: bool) -> Found:
        # One more, to know whether there is more.
        if self._route.rest is None:
            found = self._read(ids, limit + 1, is_up=is_up)
            return Found(found[:limit], found[limit - 1] if len(found) > limit else None)
        found, reached = [], None
        for window in self._windows(ids, seconds, is_up=is_up):
            found += self._read(window.ids, limit + 1 - len(found), is_up=is_up)
            if len(found) > limit:
                return Found(found[:limit], found[limit - 1])
            reached = (window.ids.high if is_up else window.ids.low) if window.left else None
        return Found(found, reached)

    def _windows(self, ids: Range, seconds: float, *, is_up: bool) -> Iterator[Window]:
        """Cut *ids* into windows until the time is over; there is always one."""
        started, size = time.monotonic(), FIRST_WINDOW
        began = started
        while ids:
            window = self._cut(ids, size, is_up=is_up)
            yield window
            ids, now = window.left, time.monotonic()
            if now - started >= seconds:
                return
            growth = min(WINDOW / max(now - began, 1e-6), MOST_GROWTH)
            size, began = min(max(int(size * growth), 1), LARGEST_WINDOW), now

    def _cut(self, ids: Range, size: int, *, is_up: bool) -> Window:
        """Return the first window of *ids* with *size* emails of the route."""
        inside = self._union(sa.select(emails.c.id), ids, size, is_up=is_up).subquery()
        far = sa.func.max(inside.c.id) if is_up else sa.func.min(inside.c.id)
        edge, number = self._connection.execute(sa.select(far, sa.func.count()).select_from(inside)).one()
        if number < size:
            return Window(ids, number, Range(0, -1))
        if is_up:
            return Window(Range(ids.low, edge), number, Range(edge + 1, ids.high))
        return Window(Range(edge, ids.high), number, Range(ids.low, edge - 1))

    def _read(self, ids: Range, limit: int, *, is_up: bool) -> list[int]:
        return list(self._connection.scalars(self._union(self._checked(), ids, limit, is_up=is_up)))

    def _count(self, ids: Range) -> int:
        inside = [self._checked(sa.func.count()).where(stream, *self._in_range(ids)) for stream in self._route.streams]
        return sum(self._connection.scalars(statement).one() for statement in inside)

    def _checked(self, column: Any = emails.c.id) -> Any:
        select = sa.select(column).select_from(emails)
        return select if self._route.rest is None else select.where(self._route.rest)

    def _union(self, select: Any, ids: Range, limit: int, *, is_up: bool) -> Any:
        """Return the first emails of all streams, up to *limit*, in the order of ids."""
        position = self._route.position
        order = position if is_up else position.desc()
        parts = [select.where(stream, *self._in_range(ids)).order_by(order).limit(limit) for stream in self._route.streams]
        if len(parts) == 1:
            return parts[0]
        # In subqueries, because SQLite takes no LIMIT in one part of a UNION.
        merged = sa.union_all(*(sa.select(part.subquery().c.id) for part in parts)).subquery()
        return sa.select(merged.c.id).order_by(merged.c.id if is_up else merged.c.id.desc()).limit(limit)

    def _in_range(self, ids: Range) -> tuple[Any, Any]:
        return self._route.position >= ids.low, self._route.position <= ids.high

    def _choose(self, possible: list[Route]) -> Route:
        """Return the route with the fewest emails; the one through all emails only if there is no other."""
        *served, through_all = possible
        if len(served) == 1 and served[0].name != "key":
            return served[0]
        numbers = [(self._probe(route), place) for place, route in enumerate(served)]
        useful = [(number, place) for number, place in numbers if number < PROBE or served[place].name != "key"]
        return served[min(useful)[1]] if useful else through_all

    def _probe(self, route: Route) -> int:
        some = [sa.select(emails.c.id).where(stream).limit(PROBE).subquery() for stream in route.streams]
        counts = [sa.select(sa.func.count()).select_from(part) for part in some]
        return sum(self._connection.scalars(statement).one() for statement in counts)
