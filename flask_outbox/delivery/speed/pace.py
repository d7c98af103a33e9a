"""Pace: finds out how much mail the server takes when it asks to slow down, and keeps to that.

After a reply such as ``454 Throttling failure`` nothing is sent for a moment, then one email at a time until the server accepts
one. From then on mail goes out at nearly the speed that the server has taken so far, and a little faster with each second:
until the server asks again, or until the pace is so high that it no longer matters.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# How long to send nothing after the server has asked to slow down, in seconds: longer by half with each further request.
FIRST_PAUSE, LONGEST_PAUSE, LONGER = 0.1, 30.0, 1.5
# The part of the measured speed to continue with, and the slowest speed, in emails a second: otherwise a server that took nothing
# for an hour would get its backlog over a day.
SHARE, SLOWEST = 0.95, 0.5
# The speed doubles in so many seconds, is ten times as high after three times as many, and so on as a square: the server is asked
# rarely while the measured speed is right, and a wrong one is soon corrected.
DOUBLES_IN = 12.0
# How long after the server's last request all limits end, in seconds: the speed is 100 times as high by then.
FORGOTTEN_AFTER = 120.0
# Emails for so many seconds are claimed and sent at once.
BURST = 0.1
# An email that begins so many seconds after the last one was accepted begins a new measurement: there was nothing to send.
IDLE = 1.0


class Pace:
    """The pace of one worker. All its connections share it, from several threads; *clock* returns seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # How often the server has asked to slow down.
        self.requests = 0
        self._throttled_at = float("-inf")
        # How long to send nothing, in seconds; 0 once the server accepts mail again.
        self.pause = 0.0
        # The speed at one moment, in emails a second; None while nothing limits it.
        self._base: float | None = None
        self._base_at = 0.0
        self._next_at = 0.0
        # The measurement: how many emails the server has accepted since when.
        self._accepted, self._began_at, self._accepted_at = 0, float("-inf"), float("-inf")

    @property
    def is_slowed(self) -> bool:
        """Return whether the server has asked to slow down within FORGOTTEN_AFTER."""
        return self._clock() - self._throttled_at < FORGOTTEN_AFTER

    @property
    def is_blocked(self) -> bool:
        """Return whether the server has accepted nothing since it asked to slow down."""
        return self.pause > 0 and self.is_slowed

    @property
    def speed(self) -> float:
        """Return how many emails a second may go out."""
        if not self.is_slowed:
            return float("inf")
        if self.pause or self._base is None:
            return 1 / self.pause
        return self._base * (1 + ((self._clock() - self._base_at) / DOUBLES_IN) ** 2)

    @property
    def size(self) -> int:
        """Return how many emails to claim at a time."""
        if not self.is_slowed:
            return sys.maxsize
        return 1 if self.pause else max(1, int(self.speed * BURST))

    def wait(self) -> float:
        """Allow one claim of ``size`` emails now and return 0, or return the seconds to wait before the next one."""
        with self._lock:
            now = self._clock()
            if not self.is_slowed:
                return 0.0
            if now < self._next_at:
                return self._next_at - now
            interval = self.size / self.speed
            # Sleeping takes a little longer than asked.
            self._next_at = max(self._next_at, now - interval) + interval
            return 0.0

    def note_accepted(self, seconds: float) -> bool:
        """Count an email that took *seconds*; return whether it is the first one since the server asked to slow down."""
        with self._lock:
            now = self._clock()
            self._measure_from(now - seconds)
            self._accepted, self._accepted_at = self._accepted + 1, now
            if not self.pause or now - seconds < self._throttled_at:
                return False
            self._base = max(SHARE * self._accepted / (now - self._began_at), SLOWEST)
            self._base_at, self.pause = now, 0.0
            self._next_at = now + 1 / self._base
            self._accepted, self._began_at = 0, now
            return self.is_slowed

    def note_throttled(self, seconds: float) -> bool:
        """Send nothing for a while, because the server asked to slow down in reply to an email that took *seconds*.

        Return False if that is no news: several connections hear of the same excess.
        """
        with self._lock:
            now = self._clock()
            if now - seconds < self._throttled_at:
                return False
            self._measure_from(now - seconds)
            pause = self.pause * LONGER if self.is_blocked else max(FIRST_PAUSE, 1 / self.speed)
            self.pause = min(pause, LONGEST_PAUSE)
            self._throttled_at, self._next_at = now, now + self.pause
            self.requests += 1
            return True

    def _measure_from(self, begun: float) -> None:
        """Begin a new measurement if there was nothing to send before *begun*."""
        idle = begun - self._accepted_at
        if idle > IDLE and not self.is_blocked and idle > IDLE + 1 / self.speed:
            self._accepted, self._began_at = 0, begun
