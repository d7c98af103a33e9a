"""Rate limits for posted forms, passwords, and mail to the administrator.

Redis counts for all processes together; while it is down, each process counts for itself.
"""

from __future__ import annotations

import limits
from flask import Flask, current_app
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from redis.exceptions import RedisError

from flasky.extensions import limiter

# Longest wait of a request for Redis, in seconds.
TIMEOUT = 0.05

_own_count = FixedWindowRateLimiter(MemoryStorage())


def init_app(app: Flask) -> None:
    """Count in the app's Redis, or in memory without one."""
    url = app.config["REDIS_URL"]
    # limits has its own name for a Redis behind a Unix socket.
    app.config.setdefault("RATELIMIT_STORAGE_URI", url.replace("unix://", "redis+unix://", 1) or "memory://")
    if url:
        options = {"socket_connect_timeout": TIMEOUT, "socket_timeout": TIMEOUT}
        if url.startswith("rediss:") and not app.config["REDIS_TLS_VERIFY"]:
            options["ssl_cert_reqs"] = "none"  # type: ignore[assignment] # the other options are numbers
        app.config.setdefault("RATELIMIT_STORAGE_OPTIONS", options)
        app.config.setdefault("RATELIMIT_IN_MEMORY_FALLBACK_ENABLED", True)
    app.config.setdefault("RATELIMIT_KEY_PREFIX", "flasky")
    limiter.init_app(app)


def form_limit() -> str:
    """Return the limit for posting a form, such as ``"10 per minute"``."""
    limit: str = current_app.config["FLASKY_FORM_LIMIT"]
    return limit


def may(what: str, limit: str) -> bool:
    """Count one event named *what*, and return whether it is within *limit*, such as ``"30 per hour"``."""
    rate = limits.parse(limit)
    try:
        return limiter.limiter.hit(rate, what)
    except RedisError:
        return _own_count.hit(rate, what)
