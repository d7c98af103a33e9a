"""The examination: runs all checks, those that wait for others at the same time, and never longer than a minute."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .bell import check_redis
from .configuration import check_settings, sender_domains
from .database import check_database
from .finding import Finding, Level, failed, skipped
from .resolver import resolver_maker
from .sender import dns_checks
from .server import check_server
from .website import check_base_url
from .workers import check_health, check_workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ..state import MailState

# When to give up, in seconds.
LONGEST = 45.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the operator has asked for.

    *selectors* are DKIM's, *nameserver* the DNS server to ask instead of the system's, *visits* whether to request the base URL.
    """

    selectors: tuple[str, ...] = ()
    nameserver: str | None = None
    visits: bool = False


class Group:
    """Checks that run one after the other, in a thread of their own; *name* is that of the first."""

    def __init__(self, name: str, checks: Callable[[], Iterable[Finding]]) -> None:
        self._name, self._checks = name, checks
        self._findings: list[Finding] = []
        # A daemon, because a check that hangs must not keep the process from exiting.
        self._thread = threading.Thread(target=self.run, name=f"doctor {name}", daemon=True)

    def start(self) -> None:
        """Run the checks in the thread."""
        self._thread.start()

    def run(self) -> None:
        """Run the checks; an unexpected error is a finding too."""
        try:
            for finding in self._checks():
                self._findings.append(finding)  # what is found before an error or the deadline counts
        except Exception as error:  # noqa: BLE001 - the other checks go on
            what = f"the check has failed with an unexpected error: {type(error).__name__}"
            self._findings.append(failed(self._name, what, "Please report it as a bug of Flask-Outbox."))

    def collect(self, deadline: float) -> list[Finding]:
        """Return the findings; one that says so if the checks do not end before *deadline*, by ``time.monotonic()``."""
        if self._thread.ident is not None:
            self._thread.join(max(deadline - time.monotonic(), 0))
        # Asked first: what has ended has written all its findings.
        hangs = self._thread.is_alive()
        found = list(self._findings)
        if hangs:
            found.append(failed(self._name, f"no answer within {LONGEST:g} s", "Something on the way hangs: look at the network."))
        return found


def examine(state: MailState, options: Options | None = None) -> list[Finding]:
    """Run all checks and return their findings, in an order that reads well; raise ValueError for a wrong nameserver."""
    deadline = time.monotonic() + LONGEST
    groups = list(_groups(state, options or Options()))
    database = next(group for name, group in groups if name == "database")
    for _, group in groups:
        # One connection that all threads share belongs to the caller's.
        if group is not database or not state.database.is_shared:
            group.start()
    if state.database.is_shared:
        database.run()
    return [finding for _, group in groups for finding in group.collect(deadline)]


def _groups(state: MailState, options: Options) -> Iterator[tuple[str, Group]]:
    settings, is_development = state.settings, state.app.debug or state.app.testing
    base_url, domains = state.base_url, sender_domains(settings)
    checks: dict[str, Callable[[], Iterable[Finding]]] = {
        "settings": lambda: check_settings(settings, is_development=is_development),
        "base-url": lambda: [check_base_url(base_url, is_development=is_development, visits=options.visits)],
        "database": lambda: _check_store(state),
        "smtp": lambda: check_server(state.smtp, is_suppressed=settings.suppress_send),
        **dict(dns_checks(domains, options.selectors, resolver_maker(options.nameserver))),
    }
    for name, check in checks.items():
        yield name, Group(name, check)


def _check_store(state: MailState) -> Iterator[Finding]:
    """Check what needs the database one after the other, because each of its connections may belong to one thread."""
    findings = list(check_database(state.engine, state.database.metadata))
    yield from findings
    redis = check_redis(state)
    yield redis.finding
    broken = next(
        (finding for finding in findings if finding.level is Level.FAILED and finding.name in {"database", "tables"}), None
    )
    if broken is not None:
        for name in ("workers", "health"):
            yield skipped(name, f"it needs the {broken.name}")
        return
    yield check_workers(state, redis.registered)
    yield from check_health(state)
