"""Rate: limits how fast all workers together send mail.

Redis holds the count. While Redis is down each worker counts for itself, because delivery does not depend on Redis.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import limits
from limits.storage import MemoryStorage, storage_from_string
from limits.strategies import MovingWindowRateLimiter

log = logging.getLogger(__name__)

KEY = "mail-rate"
# Longest time for which a worker waits for Redis, in seconds.
REDIS_TIMEOUT = 0.5
# How long to count locally after Redis has failed, in seconds.
REDIS_PAUSE = 5.0
# Shortest wait, in seconds, so that waiting is no busy loop.
SHORTEST_WAIT = 0.005


class Rate:
    """A limit such as ``"14 per second"``, exact over any window of its length."""

    def __init__(self, text: str, redis_url: str = "", **redis_options: Any) -> None:
        self._limit = limits.parse(text)
        self._local = MovingWindowRateLimiter(MemoryStorage())
        self._shared: MovingWindowRateLimiter | None = None
        self._shared_from = 0.0
        if redis_url:
            options = {"socket_connect_timeout": REDIS_TIMEOUT, "socket_timeout": REDIS_TIMEOUT, **redis_options}
            self._shared = MovingWindowRateLimiter(storage_from_string(redis_url.replace("unix://", "redis+unix://", 1), **options))

    @property
    def window(self) -> float:
        """Return the length of the window, in seconds: once it is full, nothing may be sent for that long."""
        return float(self._limit.get_expiry())

    def wait(self) -> float:
        """Count one email and return 0, or return the seconds to wait before the next one."""
        limiter = self._shared
        if limiter is not None and time.monotonic() >= self._shared_from:
            try:
                return self._wait(limiter)
            except limiter.storage.base_exceptions as error:
                self._shared_from = time.monotonic() + REDIS_PAUSE
                log.warning("Redis is down (%s): each worker counts for MAIL_RATE by itself", error)
        return self._wait(self._local)

    def _wait(self, limiter: MovingWindowRateLimiter) -> float:
        if limiter.hit(self._limit, KEY):
            return 0.0
        # Until the oldest email leaves the window.
        return max(limiter.get_window_stats(self._limit, KEY).reset_time - time.time(), SHORTEST_WAIT)
