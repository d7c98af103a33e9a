"""Checks of what delivers: living workers, and the health of the outbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ..store.status.workers import read_workers
from .finding import Finding, failed, ok, skipped, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..state import MailState


def check_workers(state: MailState, registered: int | None) -> Finding:
    """Return whether a worker is running; *registered* is how many RQ knows, or None if RQ is not used or cannot be asked."""
    try:
        found = read_workers(state.engine)
        living, lost = ([worker.name for worker in found if worker.is_lost is is_lost] for is_lost in (False, True))
    except (DBAPIError, PoolTimeout):
        return skipped("workers", "the database cannot be asked")
    killed = f"; not seen for a while: {', '.join(lost)}" if lost else ""
    if living:
        return _check_living(living, killed, registered)
    if registered:
        return ok("workers", f"RQ knows {registered} (rq worker)")
    return _without_workers(state, killed)


def _check_living(living: list[str], killed: str, registered: int | None) -> Finding:
    what = f"{len(living)} running: {', '.join(living)}{killed}"
    if registered == 0:
        remedy = "Check that site and worker have the same Redis and MAIL_REDIS_PREFIX. Until then mail waits up to three seconds."
        return warning("workers", f"{what}; but none of them listens to this Redis", remedy)
    return ok("workers", what)


def _without_workers(state: MailState, killed: str) -> Finding:
    delivery = state.settings.delivery
    if delivery == "rq":
        return failed("workers", f"no worker is running{killed}", "Start one: flask mail worker.")
    if delivery == "thread" and state.bell.is_local:
        remedy = "A web process delivers from its first request on. If the site is running, open one of its pages and look again."
        return warning("workers", f"no web process delivers at the moment{killed}", remedy)
    return skipped("workers", "nobody has to be running: MAIL_DELIVERY or the app's own task says who delivers, and when")


def check_health(state: MailState) -> Iterator[Finding]:
    """Yield each reason for which mail does not go out, as flask mail health does."""
    report = state.health()
    for problem in report.problems:
        yield failed("health", problem.what, problem.remedy)
    if not report.problems:
        yield ok("health", "; ".join([f"mail goes out; {report.waiting} waiting", *report.remarks]))
