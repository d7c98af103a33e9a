"""Check Redis, which wakes the workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .finding import Finding, failed, ok, skipped, warning

if TYPE_CHECKING:
    from ..state import MailState

# How long to wait for Redis, in seconds.
TIMEOUT = 5.0


class RedisReport(NamedTuple):
    """The finding about Redis, and how many workers RQ knows; None if RQ is not used or cannot be asked."""

    finding: Finding
    registered: int | None = None


def check_redis(state: MailState) -> RedisReport:
    """Return whether Redis can be used."""
    settings = state.settings
    if not settings.redis_url:
        return RedisReport(skipped("redis", "MAIL_REDIS_URL is not set, and nothing needs it"))
    from ..delivery.redis_client import Unreachable, read_version  # noqa: PLC0415 - loads Redis only if it is used

    redis = state.connect_redis(TIMEOUT)
    try:
        what, registered = f"Redis {read_version(redis)} answers", None
        if settings.delivery == "rq":
            from ..delivery.rq_worker import read_queue  # noqa: PLC0415 - as above

            bells, registered = read_queue(redis, settings.redis_prefix)
            what += f", {bells} in the queue" if bells else ", nothing in the queue"
    except Unreachable as error:
        remedy = "Check MAIL_REDIS_URL, and that Redis runs. Mail goes out nevertheless, up to three seconds later."
        # A lost bell delays mail; a lost MAIL_RATE is counted by each worker alone.
        return RedisReport(failed("redis", f"Redis cannot be used: {error}", remedy))
    finally:
        redis.close()
    if settings.redis_url.startswith("rediss") and not settings.redis_tls_verify:
        remedy = "Set MAIL_REDIS_TLS_VERIFY=on, unless the provider's certificate is self-signed, as Heroku's is."
        return RedisReport(warning("redis", f"{what}, and its certificate is not verified", remedy), registered)
    return RedisReport(ok("redis", what), registered)
