"""How fast mail may go out, over all workers together.

The count is in Redis; while that is away each worker counts for itself, because mail goes on without Redis.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import limits
from limits.storage import MemoryStorage, storage_from_string
from limits.strategies import MovingWindowRateLimiter

log = logging.getLogger(__name__)

KEY = "flasky-mail-rate"
# A worker does not wait longer than this for Redis to count, in seconds.
TIMEOUT = 0.5
# How long Redis is left alone once it has failed, in seconds.
REST = 5.0


class Rate:
    """A limit such as ``"14 per second"``, exact over any window of its length."""

    def __init__(self, text: str, redis_url: str = "", **redis_options: Any) -> None:
        self._limit = limits.parse(text)
        self._own = MovingWindowRateLimiter(MemoryStorage())
        self._shared: MovingWindowRateLimiter | None = None
        self._shared_from = 0.0
        if redis_url:
            options = {"socket_connect_timeout": TIMEOUT, "socket_timeout": TIMEOUT, **redis_options}
            self._shared = MovingWindowRateLimiter(storage_from_string(redis_url.replace("unix://", "redis+unix://", 1), **options))

    def wait(self) -> float:
        """Count one email and return 0, or return the seconds until one may go."""
        limiter = self._shared
        if limiter is not None and time.monotonic() >= self._shared_from:
            try:
                return self._wait(limiter)
            except limiter.storage.base_exceptions as error:
                self._shared_from = time.monotonic() + REST
                log.warning("mail: Redis is away (%s), so MAIL_RATE is counted by each worker for itself", error)
        return self._wait(self._own)

    def _wait(self, limiter: MovingWindowRateLimiter) -> float:
        if limiter.hit(self._limit, KEY):
            return 0.0
        # The window's oldest email leaves it then; never less than a moment, so that waiting is no busy loop.
        return max(limiter.get_window_stats(self._limit, KEY).reset_time - time.time(), 0.005)
