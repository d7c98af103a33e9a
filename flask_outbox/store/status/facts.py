"""Read the facts that the health of the outbox is judged by: a few queries that stay cheap with a million emails."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ..database.clock import database_now
from ..health import slowdown_remarks
from ..models import Status, attempts, emails, health, oauth_tokens
from ..statements import next_statement

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.engine import Connection, Engine

# Mail that is due for longer than this ought to have been tried: a worker sweeps every three seconds.
OVERDUE_AFTER = timedelta(minutes=1)
# Counting stops here, because counting a million rows takes 100 ms.
MOST_COUNTED = 10_000
# How far back to look for an acceptance, in attempts: more than one worker makes in ten minutes.
MOST_ATTEMPTS = 600_000
DEFERRALS = ("deferred", "uncertain", "throttled")


# The account of an OAuth2 refresh token, and how long the token lasts without being used.
Token = tuple[str, timedelta]


@dataclass(frozen=True)
class Deferrals:
    """The deferrals since the last acceptance: since when, the last reply, and whether they are all of one email."""

    since: datetime
    reply: str
    enhanced: str
    is_one_email: bool


@dataclass(frozen=True)
class Facts:
    """What the database says at the time *now*.

    *waiting* and *held* are counted up to MOST_COUNTED of each status. *due_since* is when the email that goes out next became due.
    *overdue_since* is when a worker should have tried an email, if that is longer ago than OVERDUE_AFTER. *is_leased* says that a
    worker has emails in hand, and *tried_at* when the last attempt ended. *server* is the row of ``mail_health``, which exists only
    while the SMTP server cannot be used. *slowdowns* has a sentence for each worker that the server has asked to slow down.
    *token_expires_at* is when the OAuth2 refresh token expires if it is not used.
    """

    now: datetime
    waiting: int = 0
    held: int = 0
    due_since: datetime | None = None
    overdue_since: datetime | None = None
    is_leased: bool = False
    tried_at: datetime | None = None
    deferrals: Deferrals | None = None
    server: Any = None
    slowdowns: tuple[str, ...] = ()
    token_expires_at: datetime | None = None


def read_facts(engine: Engine, token: Token | None = None) -> Facts:
    """Read the facts, also about the *token* of an account; raises SQLAlchemy's errors."""
    with engine.connect() as connection:
        now = database_now(connection)
        due = connection.execute(next_statement(connection.dialect)).one_or_none()
        newest = connection.execute(sa.select(attempts).order_by(attempts.c.id.desc()).limit(1)).one_or_none()
        leased = sa.select(emails.c.id).where(_has(Status.SENDING), emails.c.lease_until > now).limit(1)
        return Facts(
            now=now,
            waiting=_count(connection, Status.QUEUED) + _count(connection, Status.SENDING),
            held=_count(connection, Status.HELD),
            due_since=due.due_since if due else None,
            overdue_since=due.send_at if due and due.send_at <= now - OVERDUE_AFTER else None,
            is_leased=connection.scalar(leased) is not None,
            tried_at=newest.started_at + timedelta(seconds=newest.seconds) if newest else None,
            deferrals=_deferrals(connection, newest) if newest and newest.outcome in DEFERRALS else None,
            server=connection.execute(sa.select(health)).one_or_none(),
            slowdowns=tuple(slowdown_remarks(connection)),
            token_expires_at=_token_expires_at(connection, *token) if token else None,
        )


def _has(status: Status) -> sa.ColumnElement[bool]:
    """Return the condition, with the status as a literal: only then does the database use a partial index."""
    return emails.c.status == sa.literal(status.value, literal_execute=True)  # type: ignore[no-any-return] # the column is Any


def _count(connection: Connection, status: Status) -> int:
    some = sa.select(emails.c.id).where(_has(status)).limit(MOST_COUNTED).subquery()
    return connection.scalars(sa.select(sa.func.count()).select_from(some)).one()


def _deferrals(connection: Connection, newest: Any) -> Deferrals | None:
    """Return the deferrals since the last acceptance, up to the *newest* attempt."""
    oldest = newest.id - MOST_ATTEMPTS
    accepted = sa.select(attempts.c.id).where(attempts.c.outcome == "sent", attempts.c.id > oldest).order_by(attempts.c.id.desc())
    last = connection.scalar(accepted.limit(1))
    run = attempts.c.id > (oldest if last is None else last), attempts.c.outcome.in_(DEFERRALS)
    since = connection.scalars(sa.select(attempts.c.started_at).where(*run).order_by(attempts.c.id).limit(1)).one()
    other = connection.scalar(sa.select(attempts.c.id).where(*run, attempts.c.email_id != newest.email_id).limit(1))
    reply = f"{newest.code or ''} {newest.reply or ''}".strip()
    return Deferrals(since, reply, newest.enhanced or "", is_one_email=other is None)


def _token_expires_at(connection: Connection, account: str, lifetime: timedelta) -> datetime | None:
    renewed_at = connection.scalar(sa.select(oauth_tokens.c.renewed_at).where(oauth_tokens.c.account == account))
    return None if renewed_at is None else renewed_at + lifetime
