"""How many emails have each status: counted exactly, beside the request, and no more often than the database can bear."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from ..database.host import SHARED
from ..models import Email

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

log = logging.getLogger(__name__)

# A count is used for so many times as long as it took: counting then takes less than 2 % of the database's time for each web
# process, whoever watches.
TIMES, LEAST_SECONDS = 60, 1.0
# How long a request waits for a new count, in seconds. A million emails take longer; then it gets the last count, if that is
# still used, or not older than LONGEST_SECONDS.
WAIT, LONGEST_SECONDS = 0.04, 30.0


def count_by_status(engine: Engine) -> dict[str, int]:
    """Return how many emails have each status."""
    counts = sa.select(Email.status, sa.func.count().label("number")).group_by(Email.status).order_by(Email.status)
    with engine.connect() as connection:
        return {row.status: row.number for row in connection.execute(counts)}


class _Counts:
    """The last count of one database in this process, and the thread that counts anew."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._counts: dict[str, int] = {}
        self._counted_at = self._until = float("-inf")

    def read(self, engine: Engine) -> dict[str, int] | None:
        if time.monotonic() >= self._until:
            # In memory, another thread would see another database.
            if isinstance(engine.pool, SHARED):
                self._count(engine)
            else:
                self._begin(engine).join(WAIT)
        return self._counts if time.monotonic() < max(self._until, self._counted_at + LONGEST_SECONDS) else None

    def _begin(self, engine: Engine) -> threading.Thread:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._count, args=(engine,), name="outbox-counts", daemon=True)
                self._thread.start()
            return self._thread

    def _count(self, engine: Engine) -> None:
        began = time.monotonic()
        try:
            self._counts = count_by_status(engine)
        except SQLAlchemyError as error:
            # The page that asks meets the same error, and explains it.
            log.info("the emails could not be counted: %s", type(error).__name__)
            return
        self._counted_at = time.monotonic()
        self._until = self._counted_at + max((self._counted_at - began) * TIMES, LEAST_SECONDS)


_of_engines: WeakKeyDictionary[Engine, _Counts] = WeakKeyDictionary()


def recent_counts(engine: Engine) -> dict[str, int] | None:
    """Return how many emails have each status, as it was a few seconds ago; None if that is not known yet: ask again."""
    return _of_engines.setdefault(engine, _Counts()).read(engine)
