"""Keep what was read for a while, so that many browsers cost the database no more than one: for sixty times as long as it took."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# So much longer than a read took, its value is kept. Each web process reads for itself, and several figures: together they must not
# slow the delivery by a twentieth.
FACTOR = 60
# And at least so long, in seconds.
SHORTEST = 1.0
# How long a value that is no longer fresh is better than none, in seconds.
OLDEST = 30.0
NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass
class _Entry:
    """A *value*, when it was read, and until when it is fresh, in seconds of ``time.monotonic()``."""

    value: Any
    at: datetime
    fresh_until: float


class Kept:
    """The values of one process, by name; threads may share it."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._locks: dict[str, threading.Lock] = {}

    def get(self, name: str, read: Callable[[], T], deadline: float = float("inf")) -> T:
        """Return the kept value of *name*, or what *read* returns if there is none, or if it is no longer fresh.

        After the *deadline* (of ``time.monotonic()``), and while another thread reads it, a value that is no longer fresh will do;
        but not if that thread has been waiting for the database for OLDEST.
        """
        entry, now = self._entries.get(name), time.monotonic()
        if entry is not None and (now < entry.fresh_until or now > deadline):
            value: T = entry.value
            return value
        lock = self._locks.setdefault(name, threading.Lock())
        if entry is None:
            lock.acquire()
        elif not lock.acquire(blocking=now > entry.fresh_until + OLDEST):
            stale: T = entry.value
            return stale
        try:
            return self._read(name, read, entry)
        finally:
            lock.release()

    def _read(self, name: str, read: Callable[[], T], before: _Entry | None) -> T:
        found = self._entries.get(name)
        if found is not None and found is not before:
            # Another thread has read it while this one waited.
            waited: T = found.value
            return waited
        begun, at = time.monotonic(), datetime.now(UTC)
        value = read()
        end = time.monotonic()
        self._entries[name] = _Entry(value, at, end + max((end - begun) * FACTOR, SHORTEST))
        return value

    def read_at(self, name: str) -> datetime:
        """Return when the value of *name* was read; the beginning of time if it never was."""
        entry = self._entries.get(name)
        return entry.at if entry else NEVER
