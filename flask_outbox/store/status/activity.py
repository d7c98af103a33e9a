"""Count what was sent, put off and refused over the last hour, day and week, without an index on times.

Attempts are numbered in the order in which they end, so a time is found by bisection over their ids. What has been counted is
kept in this process: later reads count only what is new.
"""

from __future__ import annotations

import enum
import threading
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from ..database.clock import UTCDateTime, database_now
from ..models import attempts

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine

# The finest step in which attempts are counted.
STEP = timedelta(minutes=5)
# So many ids are counted in one statement, in 15 ms or so.
CHUNK = 25_000
# The newest attempts are counted anew by each read: PostgreSQL hands out an id before its row can be seen.
UNSETTLED = 2_000
# An attempt may last so long, and its id is given at its end; so ids are in the order of ``started_at`` but for this.
LONGEST_ATTEMPT = timedelta(minutes=10)
EPOCH = datetime.fromtimestamp(0, UTC)


class Period(enum.StrEnum):
    """How far back one looks; its value is a word for programs."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"

    @property
    def length(self) -> timedelta:
        """Return how long it is."""
        return {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7)}[self.value]

    @property
    def step(self) -> timedelta:
        """Return how long each of the parts is in which it is counted."""
        return {"hour": STEP, "day": timedelta(hours=1), "week": timedelta(hours=6)}[self.value]


class Result(enum.StrEnum):
    """What an attempt led to, as an operator sees it."""

    SENT = "sent"
    PUT_OFF = "put off"
    REFUSED = "refused"


@dataclass(frozen=True)
class Step:
    """How many attempts began from *start* on, up to the next step, by result; if not *is_counted*, some are left to count."""

    start: datetime
    counts: dict[Result, int]
    is_counted: bool = True


class Gap(NamedTuple):
    """Attempts that are not counted yet: ids after *low*, up to and including *high*."""

    low: int
    high: int


@dataclass(frozen=True)
class Activity:
    """The attempts of the last week: *counts* by step and result, as of *now*.

    Everything that began after *counted_since* is counted. *newest_id* is the id of the newest attempt, 0 if there is none.
    """

    now: datetime
    counts: Counter[tuple[int, Result]]
    counted_since: datetime
    newest_id: int = 0

    def steps(self, period: Period) -> list[Step]:
        """Return the steps of *period*, the oldest first; the last one is not over yet."""
        size, number = period.step // STEP, period.length // period.step
        last = _step_of(self.now) // size
        return [self._step(step * size, size) for step in range(last - number + 1, last + 1)]

    def total(self, period: Period) -> dict[Result, int]:
        """Return how many attempts there were in *period*, by result."""
        steps = self.steps(period)
        return {result: sum(step.counts[result] for step in steps) for result in Result}

    def latest(self) -> Step:
        """Return the newest step of STEP that is over, so that every process says the same of it."""
        return self._step(_step_of(self.now) - 1, 1)

    def _step(self, first: int, size: int) -> Step:
        counts = {result: sum(self.counts[part, result] for part in range(first, first + size)) for result in Result}
        start = datetime.fromtimestamp(first * STEP.total_seconds(), UTC)
        return Step(start, counts, self.counted_since <= max(start, self.now - Period.WEEK.length))


class ActivityReader:
    """Counts the attempts in *engine*'s database, and keeps the counts; threads may share it.

    After a purge of attempts of this week the charts show what is left: all is counted anew.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._counts: Counter[tuple[int, Result]] = Counter()
        self._gaps: list[Gap] = []
        self._low = self._high = 0

    def read(self, seconds: float = float("inf")) -> Activity:
        """Return the activity, after counting for *seconds* or a little more; what is left is counted by the next reads."""
        end = time.monotonic() + seconds
        with self._lock, self._engine.connect() as connection:
            now = database_now(connection)
            oldest, newest = _ends(connection)
            self._note_purge(connection, oldest, newest, now)
            self._extend(connection, newest, now)
            self._count_gaps(connection, end)
            counts = self._counts.copy()
            if newest:
                counts.update(_count(connection, Gap(self._high, newest)))
            return Activity(now, counts, self._counted_since(connection, now), newest)

    def _note_purge(self, connection: Connection, oldest: int, newest: int, now: datetime) -> None:
        """Forget everything if attempts of this week are gone."""
        if newest < self._high or (oldest > self._low + 1 and _started_at(connection, oldest) > now - Period.WEEK.length):
            self._forget()

    def _extend(self, connection: Connection, newest: int, now: datetime) -> None:
        """Note what there is to count by now."""
        settled = newest - UNSETTLED
        if settled <= self._high:
            return
        if not self._high:
            self._low = self._high = min(_last_before(connection, now - Period.WEEK.length - LONGEST_ATTEMPT), settled)
        if settled > self._high:
            self._gaps.append(Gap(self._high, settled))
            self._high = settled
            self._drop_old(now)

    def _drop_old(self, now: datetime) -> None:
        first = _step_of(now - Period.WEEK.length) - Period.WEEK.step // STEP
        for key in [key for key in self._counts if key[0] < first]:
            del self._counts[key]

    def _count_gaps(self, connection: Connection, end: float) -> None:
        """Count what is not counted, the newest first, until the *end*; one part at least, so that each read gets further."""
        while self._gaps:
            gap = self._gaps.pop()
            low = max(gap.low, gap.high - CHUNK)
            self._counts.update(_count(connection, Gap(low, gap.high)))
            if low > gap.low:
                self._gaps.append(Gap(gap.low, low))
            if time.monotonic() >= end:
                return

    def _counted_since(self, connection: Connection, now: datetime) -> datetime:
        if not self._gaps:
            return now - Period.WEEK.length
        return _started_at(connection, self._gaps[-1].high) + LONGEST_ATTEMPT


def _step_of(moment: datetime) -> int:
    return int(moment.timestamp() // STEP.total_seconds())


def _ends(connection: Connection) -> tuple[int, int]:
    """Return the smallest and the largest id, 0 without attempts; in two statements, each of which reads one row."""
    smallest, largest = (connection.scalar(sa.select(end(attempts.c.id))) for end in (sa.func.min, sa.func.max))
    return smallest or 0, largest or 0


def _started_at(connection: Connection, attempt_id: int) -> datetime:
    """Return when the attempt with this id, or the next one after it, began."""
    following = sa.select(attempts.c.started_at).where(attempts.c.id >= attempt_id).order_by(attempts.c.id).limit(1)
    return connection.scalars(following).one()  # type: ignore[no-any-return] # the column is Any


def _last_before(connection: Connection, moment: datetime) -> int:
    """Return an id such that attempts up to it began before *moment*, and those after it did not."""
    low, high = _ends(connection)
    low -= 1
    while low < high:
        middle = (low + high + 1) // 2
        before = sa.select(attempts.c.id, attempts.c.started_at).where(attempts.c.id <= middle).order_by(attempts.c.id.desc())
        row = connection.execute(before.limit(1)).one()
        if row.started_at < moment:
            low = middle
        else:
            high = row.id - 1
    return low


def _count(connection: Connection, gap: Gap) -> Counter[tuple[int, Result]]:
    """Return how many attempts with the ids in *gap* there are, by step and result."""
    begun: Any = attempts.c.started_at
    part: Any
    if connection.dialect.name == "sqlite":
        # By the minute, as text: SQLite's own functions for times take three times as long.
        part = sa.func.substr(begun, 1, len("2026-11-25 12:00"), type_=sa.String)
    else:
        part = sa.func.date_bin(STEP, begun, EPOCH, type_=UTCDateTime())
    within = attempts.c.id > gap.low, attempts.c.id <= gap.high
    query = sa.select(part.label("part"), attempts.c.outcome, sa.func.count()).where(*within).group_by(part, attempts.c.outcome)
    found: Counter[tuple[int, Result]] = Counter()
    for when, outcome, number in connection.execute(query):
        moment = datetime.fromisoformat(f"{when}+00:00") if isinstance(when, str) else when
        found[_step_of(moment), _result(outcome)] += number
    return found


def _result(outcome: str) -> Result:
    """Return what the *outcome* of an attempt means to an operator."""
    known = {"sent": Result.SENT, "refused": Result.REFUSED}
    return known.get(outcome, Result.PUT_OFF)
