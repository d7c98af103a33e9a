"""How many emails have each status, counted exactly, and no more often than the database can bear."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from .overview import count_by_status

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

# A count is used for so many times as long as it took: then counting takes 5 % of the database's time at most, whoever watches.
TIMES, LEAST_SECONDS = 20, 1.0


class _Counts:
    """The last count of one database in this process, and until when it is used."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.counts: dict[str, int] | None = None
        self.until = 0.0


_counts: WeakKeyDictionary[Engine, _Counts] = WeakKeyDictionary()


def recent_counts(engine: Engine) -> dict[str, int]:
    """Return how many emails have each status, as it was at most some seconds ago.

    While one thread counts, the others get the last count.
    """
    last = _counts.setdefault(engine, _Counts())
    if last.counts is not None and time.monotonic() < last.until:
        return last.counts
    if not last.lock.acquire(blocking=last.counts is None):
        return last.counts or {}
    try:
        began = time.monotonic()
        if last.counts is None or began >= last.until:
            last.counts = count_by_status(engine)
            took = time.monotonic() - began
            last.until = time.monotonic() + max(took * TIMES, LEAST_SECONDS)
        return last.counts
    finally:
        last.lock.release()
