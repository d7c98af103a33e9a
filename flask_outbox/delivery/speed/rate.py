"""Rate: limits how fast all workers together send mail.

Redis holds the count, by its own clock, because the clocks of two hosts differ. While Redis is down each worker counts for itself,
because delivery does not depend on Redis.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from threading import Lock
from typing import TYPE_CHECKING

import limits

if TYPE_CHECKING:
    from redis import Redis

log = logging.getLogger(__name__)

KEY = "mail-rate"
# Longest time for which a worker waits for Redis, in seconds.
REDIS_TIMEOUT = 0.5
# How long to count locally after Redis has failed, in seconds.
REDIS_PAUSE = 5.0
# Shortest wait, in seconds, so that waiting is no busy loop.
SHORTEST_WAIT = 0.005

# Keeps the times of the last emails, in microseconds. Returns 0 and notes one more email, or returns how long to wait.
COUNT = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local first = redis.call('LINDEX', KEYS[1], limit - 1)
if first and first + window > now then
    return first + window - now
end
redis.call('LPUSH', KEYS[1], string.format('%.0f', now))
redis.call('LTRIM', KEYS[1], 0, limit - 1)
redis.call('PEXPIRE', KEYS[1], math.ceil(window / 1000))
return 0
"""


class Rate:
    """A limit such as ``"14 per second"``, exact over any window of its length.

    All workers whose *redis* and *prefix* are the same share it; without Redis each process counts for itself.
    """

    def __init__(self, text: str, redis: Redis | None = None, prefix: str = "") -> None:
        limit = limits.parse(text)
        self._amount = limit.amount
        # The length of the window, in seconds: once it is full, nothing may be sent for that long.
        self.window = float(limit.get_expiry())
        self._key = f"{prefix}{KEY}"
        self._count = None if redis is None else redis.register_script(COUNT)
        self._shared_from = 0.0
        self._local: deque[float] = deque(maxlen=limit.amount)
        self._lock = Lock()

    def wait(self) -> float:
        """Count one email and return 0, or return the seconds to wait before the next one."""
        if self._count is not None and time.monotonic() >= self._shared_from:
            from redis.exceptions import RedisError  # noqa: PLC0415 - optional: installed if there is a client

            try:
                microseconds = float(self._count(keys=[self._key], args=[self._amount, int(self.window * 1e6)]))
            except RedisError as error:
                self._shared_from = time.monotonic() + REDIS_PAUSE
                log.warning("Redis is down (%s): each worker counts for MAIL_RATE by itself", error)
            else:
                return max(microseconds / 1e6, SHORTEST_WAIT) if microseconds else 0.0
        return self._wait_alone()

    def _wait_alone(self) -> float:
        with self._lock:
            now, times = time.monotonic(), self._local
            if len(times) == self._amount and times[0] + self.window > now:
                return max(times[0] + self.window - now, SHORTEST_WAIT)
            times.append(now)
            return 0.0
