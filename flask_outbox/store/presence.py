"""Presence: each worker that keeps running says in the database that it is alive, and what it is doing."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from .database.clock import database_now
from .models import NAME_LENGTH, workers

if TYPE_CHECKING:
    from .database.connection import WorkerConnection

# How often a worker says so, in seconds, and after how long without a word it counts as lost: it may be killed at any time.
BEAT_EVERY = 10.0
LOST_AFTER = timedelta(seconds=45)
# How long the row of a lost worker is kept, so that an operator sees it.
FORGOTTEN_AFTER = timedelta(days=1)


class Presence:
    """The presence of *worker*, on its *database* connection."""

    def __init__(self, database: WorkerConnection, worker: str) -> None:
        self._database = database
        self._worker = worker
        self._beat_at = float("-inf")
        self._doing = ""

    def beat(self, doing: str, started: float) -> None:
        """Record that the worker is alive and *doing* something, at most every BEAT_EVERY seconds, or when that changes.

        *started* is ``time.monotonic()`` at its start.
        """
        elapsed = time.monotonic() - self._beat_at
        if elapsed < (1.0 if doing != self._doing else BEAT_EVERY):
            return
        self._beat_at, self._doing = time.monotonic(), doing
        with self._database.begin(fsync=False) as connection:
            now = database_now(connection)
            values = {
                "seen_at": now,
                "doing": doing[:NAME_LENGTH],
                "started_at": now - timedelta(seconds=time.monotonic() - started),
            }
            if connection.execute(sa.update(workers).where(workers.c.name == self._worker).values(values)).rowcount:
                return
            connection.execute(sa.delete(workers).where(workers.c.seen_at < now - FORGOTTEN_AFTER))
            with suppress(sa.exc.IntegrityError), connection.begin_nested():  # a killed process had the same name
                connection.execute(sa.insert(workers).values(name=self._worker, **values))

    def leave(self) -> None:
        """Record that the worker has ended."""
        with self._database.begin(fsync=False) as connection:
            connection.execute(sa.delete(workers).where(workers.c.name == self._worker))
