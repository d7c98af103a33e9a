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
    """Count in the app's Redis, or in memory without one; after the mail, which connects to Redis."""
    if app.config["REDIS_URL"]:
        # The library knows every way to a Redis, Sentinel included.
        pool = app.extensions["mail"].connect_redis(TIMEOUT).connection_pool
        app.config.setdefault("RATELIMIT_STORAGE_URI", "redis://")
        app.config.setdefault("RATELIMIT_STORAGE_OPTIONS", {"connection_pool": pool})
        app.config.setdefault("RATELIMIT_IN_MEMORY_FALLBACK_ENABLED", True)
    else:
        app.config.setdefault("RATELIMIT_STORAGE_URI", "memory://")
    app.config.setdefault("RATELIMIT_KEY_PREFIX", f"{app.config['MAIL_REDIS_PREFIX']}flasky")
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
