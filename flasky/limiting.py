"""How often something may happen: posting a form, trying a password, writing to the administrator.

Counted in Redis, for all processes together; while Redis is away each process counts for itself.
"""

from __future__ import annotations

import limits
from flask import Flask, current_app
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from redis.exceptions import RedisError

from flasky.extensions import limiter

# A visitor does not wait longer than this for a counter, in seconds.
TIMEOUT = 0.05

_own_count = FixedWindowRateLimiter(MemoryStorage())


def init_app(app: Flask) -> None:
    """Count in the app's Redis, or in memory where there is none."""
    url = app.config["REDIS_URL"]
    app.config.setdefault("RATELIMIT_STORAGE_URI", url or "memory://")
    if url:
        options = {"socket_connect_timeout": TIMEOUT, "socket_timeout": TIMEOUT}
        if url.startswith("rediss:") and not app.config["REDIS_TLS_VERIFY"]:
            options["ssl_cert_reqs"] = "none"  # type: ignore[assignment]
        app.config.setdefault("RATELIMIT_STORAGE_OPTIONS", options)
        app.config.setdefault("RATELIMIT_IN_MEMORY_FALLBACK_ENABLED", True)
    app.config.setdefault("RATELIMIT_KEY_PREFIX", "flasky")
    limiter.init_app(app)


def form_limit() -> str:
    """Return how often one address may post a form."""
    limit: str = current_app.config["FLASKY_FORM_LIMIT"]
    return limit


def may(what: str, limit: str) -> bool:
    """Count one more *what*, and return whether that is within *limit* (such as ``"30 per hour"``)."""
    rate = limits.parse(limit)
    try:
        return limiter.limiter.hit(rate, what)
    except RedisError:
        return _own_count.hit(rate, what)
