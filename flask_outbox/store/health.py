"""Whether the SMTP server can be used, and how fast.

All workers share one row that exists only while it cannot be used. Each worker that it has asked to slow down has a row of its
own, which ends by itself.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from .database.clock import Now, database_now
from .models import health, slowdowns

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from ..errors import Unavailable
    from .database.connection import WorkerConnection

# How long to wait before an unavailable server is tried again: doubled with each failure, up to the longest.
FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(minutes=1)
# How long a slowdown is true after the server's last request, as in ``delivery/speed/pace.py``.
SLOWDOWN_LASTS = timedelta(minutes=2)


class ServerHealth:
    """The server's health as one worker reads and writes it, on the worker's *database* connection."""

    def __init__(self, database: WorkerConnection) -> None:
        self._database = database
        self._is_down = False

    def is_paused(self) -> bool:
        """Return whether it is too early to try the server again."""
        with self._database.autocommit() as connection:
            is_early = connection.scalar(sa.select(health.c.next_try_at > Now()))
        self._is_down = is_early is not None
        return bool(is_early)

    def note_unavailable(self, error: Unavailable) -> timedelta:
        """Record that no email can be sent, and why; return how long to wait before the next try."""
        with self._database.begin() as connection:
            now = database_now(connection)
            row = connection.execute(sa.select(health)).one_or_none()
            failures = min(row.failures if row else 0, 20) + 1
            pause = min(FIRST_PAUSE * (1 << (failures - 1)), LONGEST_PAUSE)
            values = {"reason": str(error), "ours": error.ours, "failures": failures, "next_try_at": now + pause}
            if row is None:
                with suppress(sa.exc.IntegrityError), connection.begin_nested():  # another worker has inserted it
                    connection.execute(sa.insert(health).values(id=1, since=now, **values))
            else:
                connection.execute(sa.update(health).values(values))
        return pause

    def end_pause(self) -> None:
        """Allow the next try now."""
        with self._database.begin() as connection:
            connection.execute(sa.update(health).values(next_try_at=database_now(connection)))

    def note_available(self) -> bool:
        """Record that the server works, and return whether it was unavailable before."""
        if not self._is_down:
            return False
        self._is_down = False
        with self._database.begin() as connection:
            return bool(connection.execute(sa.delete(health)).rowcount)


class WorkerSlowdown:
    """The row of one *worker*, on its *database* connection."""

    def __init__(self, database: WorkerConnection, worker: str) -> None:
        self._database = database
        self._worker = worker

    def note(self, speed: float, reply: str) -> None:
        """Record that this worker now sends *speed* emails a second, because of the server's *reply*."""
        with self._database.begin() as connection:
            now = database_now(connection)
            # Also those of workers that are gone.
            connection.execute(sa.delete(slowdowns).where(slowdowns.c.until < now))
            values = {"speed": speed, "reply": reply, "until": now + SLOWDOWN_LASTS}
            mine = slowdowns.c.worker == self._worker
            if not connection.execute(sa.update(slowdowns).where(mine).values(values)).rowcount:
                with (
                    suppress(sa.exc.IntegrityError),
                    connection.begin_nested(),
                ):  # another connection of this worker has inserted it
                    connection.execute(sa.insert(slowdowns).values(worker=self._worker, since=now, **values))


def slowdown_remarks(connection: Connection) -> list[str]:
    """Return a sentence for each worker that the server has asked to slow down, the slowest first."""
    current = sa.select(slowdowns).where(slowdowns.c.until >= database_now(connection)).order_by(slowdowns.c.speed)
    return [f"{row.worker} is slowed to about {_rate(row.speed)}: {row.reply}" for row in connection.execute(current)]


def _rate(speed: float) -> str:
    """Return *speed*, in emails a second, in words."""
    if round(speed) > 1:
        return f"{speed:.0f} emails a second"
    number = max(round(speed * 60), 1)
    return f"{number} emails a minute" if number > 1 else "1 email a minute"
