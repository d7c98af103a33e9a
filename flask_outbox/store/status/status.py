"""The status of the whole outbox, for the overview page, ``flask mail status`` and the metrics."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ..models import health
from .activity import Activity, ActivityReader, Period
from .counts import count_by_status, recent_counts
from .groups import FailureGroup, read_groups
from .health import HealthReport
from .kept import Kept
from .pace import DeliveryTime, read_delivery_time
from .waiting import Waiting, read_waiting
from .workers import RunningWorker, read_workers

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy.engine import Engine

# How long a read may at least count attempts that were never counted, in seconds.
COUNTING = 0.03


@dataclass(frozen=True)
class Service:
    """What mail depends on, a database or Redis: its *name*, how many *seconds* it took to answer, or the *problem* with it."""

    name: str
    seconds: float = 0.0
    problem: str | None = None


@dataclass(frozen=True)
class ServerStatus:
    """The SMTP server: its *address*, and while it cannot be used why, since when, and when it is tried again."""

    address: str
    problem: str | None = None
    since: datetime | None = None
    next_try_at: datetime | None = None


@dataclass(frozen=True)
class StatusReport:
    """The status; without a usable database only *health*, *database* and *redis* say something.

    *counts* is how many emails have each status, or None while they are still being counted. *delivery_time* is that of the period
    asked for, None if no email was accepted in it. *redis* is None if the app does not use one. *as_of* is when the oldest of the
    figures was read.
    """

    health: HealthReport
    database: Service
    redis: Service | None = None
    server: ServerStatus | None = None
    counts: dict[str, int] | None = None
    waiting: Waiting = field(default_factory=Waiting)
    activity: Activity | None = None
    delivery_time: DeliveryTime | None = None
    workers: tuple[RunningWorker, ...] = ()
    groups: tuple[FailureGroup, ...] = ()
    as_of: datetime | None = None


class StatusReader:
    """Reads the status of the outbox in *engine*'s database, and keeps what is expensive; threads may share it.

    *server* is the SMTP server's address. *read_health* judges the health, and *ping_redis* returns what is wrong with Redis, or
    None; it is None itself if the app does not use Redis.
    """

    def __init__(
        self, engine: Engine, server: str, read_health: Callable[[], HealthReport], ping_redis: Callable[[], str | None] | None
    ) -> None:
        self._engine, self._server, self._ping = engine, server, ping_redis
        self._kept = Kept()
        self._activity = ActivityReader(engine)
        self._read_health = read_health

    def health(self) -> HealthReport:
        """Return the health, which is kept for a second at least."""
        return self._kept.get("health", self._read_health)

    def read(self, period: Period = Period.DAY, seconds: float = float("inf")) -> StatusReport:
        """Return the status, with the delivery time of *period*.

        After so many *seconds* figures that were read before will do, even if they are old, and attempts that were never counted
        are left to the next reads.
        """
        deadline = time.monotonic() + seconds
        found = self.health()
        if any(problem.reason == "database" for problem in found.problems):
            database = Service(self._engine.dialect.name, problem=found.problems[0].what)
            return StatusReport(found, database, self._kept.get("redis", self._read_redis, deadline))
        readers = self._readers(period, deadline)
        # The oldest first, and that in any case: if time is short, each has its turn.
        first, *others = names = sorted(readers, key=self._kept.read_at)
        found_by_name = {first: self._kept.get(first, readers[first])}
        found_by_name |= {name: self._kept.get(name, readers[name], deadline) for name in others}
        values = {name.partition(" ")[0]: value for name, value in found_by_name.items()}
        # A million emails take longer than a page may: they are counted beside it.
        values["counts"] = count_by_status(self._engine) if seconds == float("inf") else recent_counts(self._engine)
        return StatusReport(found, as_of=min(map(self._kept.read_at, names)), **values)

    def _readers(self, period: Period, deadline: float) -> dict[str, Callable[[], Any]]:
        """Return what reads each field of the report; a name may have a second word."""
        engine = self._engine
        return {
            "database": partial(_read_database, engine),
            "redis": self._read_redis,
            "server": partial(_read_server, self._server, engine),
            "waiting": partial(read_waiting, engine),
            "workers": lambda: tuple(read_workers(engine)),
            "groups": lambda: tuple(read_groups(engine)),
            f"delivery_time {period}": partial(read_delivery_time, engine, period.length),
            "activity": lambda: self._activity.read(max(deadline - time.monotonic(), COUNTING)),
        }

    def _read_redis(self) -> Service | None:
        if self._ping is None:
            return None
        begun = time.monotonic()
        problem = self._ping()
        return Service("Redis", time.monotonic() - begun, problem)


def _read_database(engine: Engine) -> Service:
    with engine.connect() as connection:
        begun = time.monotonic()
        connection.execute(sa.select(1))
        seconds = time.monotonic() - begun
        version = ".".join(map(str, connection.dialect.server_version_info or ()))
    name = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}[engine.dialect.name]
    return Service(f"{name} {version}", seconds)


def _read_server(address: str, engine: Engine) -> ServerStatus:
    with engine.connect() as connection:
        row = connection.execute(sa.select(health)).one_or_none()
    return ServerStatus(address) if row is None else ServerStatus(address, row.reason, row.since, row.next_try_at)
