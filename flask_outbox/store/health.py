"""Whether the SMTP server can be used: one row, shared by all workers, that exists only while it cannot."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from .connection import database_now
from .models import Now, health

if TYPE_CHECKING:
    from ..errors import Unavailable
    from .connection import WorkerConnection

# How long to wait before an unavailable server is tried again: doubled with each failure, up to the longest.
FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(minutes=1)


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
