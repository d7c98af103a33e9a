"""Judge the health of the outbox: it is red whenever mail is not going out and somebody should look.

Each rule is a pure function of the facts. ``docs/runbook.md`` has an entry for each reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from .facts import MOST_COUNTED, OVERDUE_AFTER, Facts, Token, read_facts
from .failures import explain

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.engine import Engine

# After so long without an acceptance, deferrals are no longer the greylisting of one server.
DEFERRED_FOR = timedelta(minutes=10)
# A deferral is repeated within four hours; older attempts say nothing about the mail that waits now.
DEFERRALS_COUNT_FOR = timedelta(hours=5)
# RFC 3463, 3.2 and 3.3: what is wrong with one address, or with one mailbox.
ONE_MAILBOX = ("4.1.", "4.2.")


Reason = Literal["worker", "server", "configuration", "deferrals", "database"]


@dataclass(frozen=True)
class Problem:
    """One reason for which mail is not going out.

    *reason* is a word for programs: ``worker``, ``server``, ``configuration``, ``deferrals`` or ``database``. *what* says what is
    wrong, *since* when it began (None if unknown), and *remedy* what to do.
    """

    reason: Reason
    what: str
    remedy: str
    since: datetime | None = None


@dataclass(frozen=True)
class HealthReport:
    """The health of the outbox; ``is_healthy`` is False if mail is not going out and somebody should look.

    *problems* say why and what to do. *remarks* are worth knowing and no reason for alarm. *waiting* (queued or being sent) and
    *held* count emails, up to 10,000 of each status. *due_since* is when the email that goes out next became due; None if
    none is due.
    """

    problems: tuple[Problem, ...] = ()
    remarks: tuple[str, ...] = ()
    waiting: int = 0
    held: int = 0
    due_since: datetime | None = None

    @property
    def is_healthy(self) -> bool:
        """Return whether nobody needs to look."""
        return not self.problems


def read_health(engine: Engine, *, quiet_for: timedelta = OVERDUE_AFTER, token: Token | None = None) -> HealthReport:
    """Read and judge the health; a database that cannot be used is a problem like the others, and not an error.

    *quiet_for* is how long a working worker may make no attempt although mail is due: longer than a minute with MAIL_RATE.
    *token* names the OAuth2 account and how long its refresh token lasts without being used; None if that is unknown.
    """
    try:
        facts = read_facts(engine, token)
    except (DBAPIError, PoolTimeout) as error:
        return HealthReport((Problem("database", *explain(error)),))
    return judge(facts, quiet_for)


def judge(facts: Facts, quiet_for: timedelta = OVERDUE_AFTER) -> HealthReport:
    """Return the report on *facts*; *quiet_for* as in ``read_health``."""
    problems = (_judge_server(facts), _judge_worker(facts, quiet_for), _judge_deferrals(facts))
    return HealthReport(
        tuple(problem for problem in problems if problem),
        tuple(_remarks(facts)),
        waiting=facts.waiting,
        held=facts.held,
        due_since=facts.due_since,
    )


def _judge_server(facts: Facts) -> Problem | None:
    server = facts.server
    # Without mail nobody tries the server again, so what it said last is no news.
    if server is None or not facts.waiting:
        return None
    if server.ours:
        what = f"our own configuration is refused: {server.reason}"
        remedy = "Correct the setting that this reply is about, restart the site and the workers, and run flask mail deliver."
        return Problem("configuration", what, remedy, server.since)
    what = f"the server cannot be used: {server.reason}"
    remedy = "Check that the server runs and can be reached from here. It is tried again at least once a minute."
    return Problem("server", what, remedy, server.since)


def _judge_worker(facts: Facts, quiet_for: timedelta) -> Problem | None:
    quiet_since = facts.now - max(quiet_for, OVERDUE_AFTER)
    was_tried = facts.tried_at is not None and facts.tried_at > quiet_since
    # During a pause nobody tries; after it, somebody must.
    is_paused = facts.server is not None and facts.server.next_try_at > facts.now - OVERDUE_AFTER
    if facts.overdue_since is None or facts.overdue_since > quiet_since or facts.is_leased or was_tried or is_paused:
        return None
    remedy = (
        "Start what delivers: a worker (flask mail worker), a web process (MAIL_DELIVERY=thread), or your own task. "
        "flask mail deliver sends at once."
    )
    return Problem("worker", "no worker delivers: mail is due, and nobody tries to send it", remedy, facts.overdue_since)


def _judge_deferrals(facts: Facts) -> Problem | None:
    found = facts.deferrals
    if found is None or facts.tried_at is None or not facts.waiting:
        return None
    is_over = facts.now - facts.tried_at > DEFERRALS_COUNT_FOR
    is_one_mailbox = found.is_one_email and found.enhanced.startswith(ONE_MAILBOX)
    if is_over or is_one_mailbox or facts.now - found.since < DEFERRED_FOR:
        return None
    what = f"the server defers every email, the last one with: {found.reply}"
    remedy = "Read the reply. Nothing fails before MAIL_RETRY_FOR is over; if the reply does not change, contact the provider."
    return Problem("deferrals", what, remedy, found.since)


def _remarks(facts: Facts) -> list[str]:
    remarks = list(facts.slowdowns)
    if facts.held:
        number = f"at least {MOST_COUNTED}" if facts.held == MOST_COUNTED else str(facts.held)
        remarks.append(f"held: {number} (flask mail list --status held)")
    if facts.server is not None and not facts.waiting:
        remarks.append(f"nothing waits; the last try found: {facts.server.reason}")
    if facts.token_expires_at is not None:
        day = facts.token_expires_at.date()
        remarks.append(f"the OAuth2 refresh token expires on {day}, unless a worker connects to the mail server before")
    return remarks
