"""The state machine of the outbox: claim, renew, settle, release, recover, each in a transaction of its own.

It works on SQLAlchemy Core over one kept connection, apart from the site's session: four times as fast, and a rollback
of the site's cannot touch it. What runs for each email is in ``settlement``. Times are the database's where it is a server
(two hosts' clocks may differ) and this host's for SQLite, whose file is on this host.
"""

from __future__ import annotations

import random
import secrets
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from .models import Status, UTCDateTime, contents, emails, health
from .prepared import translated
from .settlement import Settlement
from .sqlite_lock import take_write_lock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy.engine import Connection, Dialect, Engine

    from ..errors import Unavailable

# A killed worker's rows go out again when its lease has run out and the next sweep has come: well within 90 s.
LEASE = timedelta(seconds=60)
# What a claim costs is shared by so many; a batch that would take longer than a second is cut to what does not.
BATCH = 200
# A larger message is read when its turn comes, so that a batch of attachments cannot fill the memory: 10 MB at most.
LARGE, LARGEST = 50_000, 2**31 - 1

# What RFC 5321, 4.5.4.1 asks of a sender is four to five days; nobody reads a password reset after three.
RETRY_FOR = timedelta(days=3)
FIRST_WAIT = timedelta(minutes=1)
LONGEST_WAIT = timedelta(hours=4)
SHORTEST_WAIT = timedelta(seconds=10)
# How long an email stands back that may or may not be to blame, so that others show whether the server takes any: longer
# than the server is ever left alone.
SUSPICION = timedelta(minutes=2)
# What SQLAlchemy says when the database is away, locked, or has no connection left.
AWAY = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError)
# How long to wait before the next try to settle while the database is away, in seconds.
PATIENCE = 0.2
# How long to leave a server alone that cannot be used at all.
FIRST_REST = timedelta(seconds=1)
LONGEST_REST = timedelta(minutes=1)


def uptime() -> float:
    """Return seconds that go on while this host sleeps, where the system counts them (Linux)."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class LeaseLost(Exception):  # noqa: N818 - internal to the package: somebody else may have the email by now
    """Say that this worker must not go on with the emails it has claimed."""


def backoff(attempt: int) -> timedelta:
    """Return how long to wait after try number *attempt* (the first is 1) has been put off.

    Full jitter over a doubling window that begins at two minutes, so that the first wait is about one, and is capped at
    four hours: the cap keeps a three-day life to a few dozen tries, and the jitter keeps a thousand messages from
    coming back in the same second.
    """
    window = min(FIRST_WAIT * (1 << min(attempt, 10)), LONGEST_WAIT)
    return max(window * random.random(), SHORTEST_WAIT)  # noqa: S311 - no secret


def database_now(connection: Connection) -> datetime:
    """Return the time by the clock that all workers share."""
    if connection.dialect.name == "postgresql":
        now: datetime = connection.scalars(sa.select(sa.func.clock_timestamp())).one()
        return now.astimezone(UTC)
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a worker needs to know of one email it has claimed."""

    id: int
    content_id: int
    recipient: str
    tries: int
    due_since: datetime
    expires_at: datetime | None
    priority: int
    send_at: datetime


@dataclass(frozen=True, slots=True)
class Letter:
    """The stored message of a claimed email."""

    sender: str
    source: bytes | None
    secret: bool


@dataclass(frozen=True, slots=True)
class Try:
    """How one try to transmit went: when it began, how many seconds it took, and what was said."""

    started_at: datetime
    seconds: float
    outcome: str
    code: int | None = None
    enhanced: str | None = None
    reply: str | None = None


class Batch:
    """The emails that one claim has leased, the messages to send, and the lease they share."""

    def __init__(self, token: str, claimed: list[Claimed], letters: dict[int, Letter], begun: float, now: datetime) -> None:
        self.token = token
        self.open = {one.id: one for one in sorted(claimed, key=lambda one: (one.priority, one.send_at, one.id))}
        self.letters = letters
        self._renewed = begun
        self._clock = now, begun

    def now(self) -> datetime:
        """Return the shared clock's time, carried on from the claim by this process's own."""
        now, begun = self._clock
        return now + timedelta(seconds=uptime() - begun)

    @property
    def age(self) -> float:
        """Return the seconds since the lease was taken or renewed, counted from before the statement was sent."""
        return uptime() - self._renewed

    def mark_renewed(self, begun: float) -> None:
        """Count the lease's age from *begun*."""
        self._renewed = begun


class Outbox:
    """The outbox as one worker sees it, over one database connection that is kept until ``close``.

    *worker* is the name that its attempts are filed under; an email that is put off has failed after *retry_for*.
    """

    def __init__(self, engine: Engine, worker: str, retry_for: timedelta = RETRY_FOR) -> None:
        self._engine = engine
        self._worker = worker[:100]
        self._retry_for = retry_for
        self._connection: Connection | None = None
        self._server_was_away = False
        # Made once: making a statement costs as much as executing it.
        self._due = _due(engine.dialect)
        self._claim = _claim(self._due, engine.dialect)
        self._settlement = Settlement(engine.dialect)

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """Have the connection; one that fails is given up."""
        if self._connection is None:
            self._connection = self._engine.connect()
        try:
            with translated(self._engine.dialect):
                yield self._connection
        except sa.exc.DBAPIError:
            self._connection.invalidate()
            self.close()
            raise

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        with self._connected() as connection:
            self._settlement.prepare(connection)
            with connection.begin():
                yield connection

    def rest(self) -> None:
        """Have everything on the disk while nothing is due."""
        if self._connection is not None and not self._connection.invalidated:
            with self._connected() as connection:
                self._settlement.rest(connection)

    def close(self) -> None:
        """Give the connection back."""
        try:
            self.rest()
        finally:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    # Claim

    def claim(self, limit: int = BATCH) -> Batch | None:
        """Lease up to *limit* emails that are due, urgent and old ones first; None where nothing is due."""
        begun, token = uptime(), secrets.token_hex(16)
        with self._begin() as connection:
            self._settlement.hurry(connection)
            take_write_lock(connection)
            now = database_now(connection)
            values = {"now": now, "limit": limit, "token": token, "until": now + LEASE}
            claimed = [Claimed(*row) for row in connection.execute(self._claim, values)]
            if not claimed:
                return None
            letters = self._letters(connection, {one.content_id for one in claimed})
        return Batch(token, claimed, letters, begun, now)

    def has_due(self) -> bool:
        """Return whether anything is due."""
        with self._begin() as connection:
            return connection.scalar(self._due, {"now": database_now(connection), "limit": 1}) is not None

    def _letters(self, connection: Connection, ids: Iterable[int], largest: int = LARGE) -> dict[int, Letter]:
        rows = connection.execute(LETTERS, {"ids": list(ids), "largest": largest})
        return {row.id: Letter(row.sender, row.source, row.secret) for row in rows}

    def letter(self, batch: Batch, email: Claimed) -> Letter:
        """Return the message of *email*: from the batch, or from the database where it is large."""
        if email.content_id in batch.letters:
            return batch.letters[email.content_id]
        with self._begin() as connection:
            return self._letters(connection, [email.content_id], LARGEST)[email.content_id]

    # The lease

    def guard(self, batch: Batch) -> None:
        """Renew the lease of *batch* when half of it has passed; raise LeaseLost where it has run out.

        This is called before each write and while waiting for the server: a worker that was frozen past its lease
        stops here, before it can transmit what another has taken.
        """
        if batch.age < LEASE.total_seconds() / 2:
            return
        if batch.age >= LEASE.total_seconds():
            raise LeaseLost
        begun = uptime()
        try:
            with self._begin() as connection:
                now = database_now(connection)
                mine = emails.c.lease == batch.token, emails.c.id.in_(list(batch.open))
                renewed = connection.execute(sa.update(emails).where(*mine).values(lease_until=now + LEASE)).rowcount
        except AWAY:
            # The other half of the lease is there for a database that is away for a moment: no reason to cut the line.
            return
        if renewed < len(batch.open):
            raise LeaseLost
        batch.mark_renewed(begun)

    def release(self, batch: Batch) -> None:
        """Give back what *batch* still holds, as it was."""
        if batch.open:
            self.release_lease(batch.token)
            batch.open.clear()

    def release_lease(self, token: str) -> None:
        """Give back everything under one lease, also from another thread than the one that took it."""
        with self._engine.begin() as connection:
            connection.execute(
                sa.update(emails)
                .where(emails.c.lease == token, emails.c.status == Status.SENDING.value)
                .values(status=Status.QUEUED.value, lease=None, lease_until=None)
            )

    def recover(self) -> int:
        """Give back the emails whose lease has run out, and return how many: their worker is dead, or was frozen."""
        with self._begin() as connection:
            now = database_now(connection)
            lost = emails.c.status == sa.literal(Status.SENDING.value, literal_execute=True), emails.c.lease_until < now
            if connection.scalar(sa.select(emails.c.id).where(*lost).limit(1)) is None:
                return 0
            values = {"status": Status.QUEUED.value, "lease": None, "lease_until": None}
            return connection.execute(sa.update(emails).where(*lost).values(values)).rowcount

    # Settle

    def settle_sent(self, batch: Batch, email: Claimed, one: Try) -> bool:
        """Note that the server has accepted *email*; return False where the lease was lost meanwhile."""
        return self._settle(batch, email, one, status=Status.SENT, tries=email.tries + 1)

    def settle_refused(self, batch: Batch, email: Claimed, one: Try) -> bool:
        """Note that the server will never accept *email*."""
        return self._settle(batch, email, one, status=Status.FAILED, tries=email.tries + 1)

    def settle_deferred(self, batch: Batch, email: Claimed, one: Try) -> bool:
        """Note that *email* was put off, and when it is tried again; past its life it has failed."""
        now = batch.now()
        if now - email.due_since >= self._retry_for:
            return self._settle(batch, email, one, status=Status.FAILED, tries=email.tries + 1)
        send_at = now + backoff(email.tries + 1)
        return self._settle(batch, email, one, status=Status.QUEUED, tries=email.tries + 1, send_at=send_at)

    def settle_held(self, batch: Batch, email: Claimed, why: str) -> bool:
        """Note that *email* is not to be sent as things are; ``flask mail retry`` has another look."""
        return self._settle(batch, email, None, status=Status.HELD, reply=why)

    def postpone(self, batch: Batch, email: Claimed, one: Try, *, counts: bool = False) -> bool:
        """Put *email* behind the others, with its try noted, and counted only where *counts*; past its life it has failed."""
        now, tries = batch.now(), email.tries + counts
        if now - email.due_since >= self._retry_for:
            return self._settle(batch, email, one, status=Status.FAILED, tries=tries)
        return self._settle(batch, email, one, status=Status.QUEUED, tries=tries, send_at=now + SUSPICION)

    def settle_expired(self, batch: Batch, email: Claimed) -> bool:
        """Note that *email* was not worth sending any more."""
        return self._settle(batch, email, None, status=Status.EXPIRED, reply="past its expires_at before it could be sent")

    def _settle(self, batch: Batch, email: Claimed, one: Try | None, *, status: Status, **values: Any) -> bool:
        """Settle, and try again while the database is away: what the server has accepted must not go out twice for that."""
        while True:
            try:
                return self._settle_once(batch, email, one, status=status, **values)
            except AWAY:
                if batch.age >= LEASE.total_seconds():
                    raise
                time.sleep(PATIENCE)

    def _settle_once(self, batch: Batch, email: Claimed, one: Try | None, *, status: Status, **values: Any) -> bool:
        said = f"{one.code or ''} {one.reply or ''}".strip() if one else values.pop("reply")
        settled = {
            "email_id": email.id,
            "held_lease": batch.token,
            "new_status": status.value,
            "new_reply": said,
            "new_tries": values.get("tries", email.tries),
            "new_send_at": values.get("send_at", email.send_at),
            "new_finished_at": batch.now() if status.is_final else None,
        }
        attempt = None if one is None else {name: getattr(one, name) for name in Try.__slots__}
        if attempt is not None:
            attempt |= {"email_id": email.id, "worker": self._worker}
        letter = batch.letters.get(email.content_id)
        if status.is_final and (letter is None or letter.secret):
            with self._begin() as connection:
                is_mine = self._settlement.execute(connection, settled, attempt)
                erase_secrets(connection, email.content_id)
        else:
            with self._connected() as connection:
                is_mine = self._settlement.write(connection, settled, attempt)
        batch.open.pop(email.id, None)
        return is_mine

    # Health

    def is_resting(self) -> bool:
        """Return whether the SMTP server has to be left alone for the moment."""
        with self._begin() as connection:
            next_try_at = connection.scalar(sa.select(health.c.next_try_at))
            self._server_was_away = next_try_at is not None
            return next_try_at is not None and next_try_at > database_now(connection)

    def note_unavailable(self, error: Unavailable) -> timedelta:
        """Note that no email can be sent, and why; return how long the server is left alone."""
        with self._begin() as connection:
            now = database_now(connection)
            row = connection.execute(sa.select(health)).one_or_none()
            failures = min(row.failures if row else 0, 20) + 1
            rest = min(FIRST_REST * (1 << (failures - 1)), LONGEST_REST)
            values = {"reason": str(error), "ours": error.ours, "failures": failures, "next_try_at": now + rest}
            if row is None:
                with suppress(sa.exc.IntegrityError), connection.begin_nested():  # another worker was faster
                    connection.execute(sa.insert(health).values(id=1, since=now, **values))
            else:
                connection.execute(sa.update(health).values(values))
        return rest

    def end_rest(self) -> None:
        """Let the server be tried again now."""
        with self._begin() as connection:
            connection.execute(sa.update(health).values(next_try_at=database_now(connection)))

    def note_available(self) -> bool:
        """Note that the server works; return whether that is news."""
        if not self._server_was_away:
            return False
        self._server_was_away = False
        with self._begin() as connection:
            return bool(connection.execute(sa.delete(health)).rowcount)


def _due(dialect: Dialect) -> sa.Select[int]:
    # The status is written into the statement: only then does the database know that the partial index serves.
    queued: sa.ColumnElement[bool] = emails.c.status == sa.literal(Status.QUEUED.value, literal_execute=True)
    if dialect.name == "sqlite":
        # Otherwise it takes the index by status, and sorts the whole backlog for each claim.
        queued = sa.func.likely(queued)
    now, limit = sa.bindparam("now", type_=UTCDateTime), sa.bindparam("limit", type_=sa.Integer)
    order = emails.c.priority, emails.c.send_at, emails.c.id
    return sa.select(emails.c.id).where(queued, emails.c.send_at <= now).order_by(*order).limit(limit)


def _claim(due: sa.Select[int], dialect: Dialect) -> sa.UpdateBase:
    due = due.with_for_update(skip_locked=True)
    # PostgreSQL may run a plain subquery again and take more than the limit; SQLite's driver runs a statement that
    # begins with WITH outside the transaction.
    ids = sa.select(due.cte("due").c.id) if dialect.name == "postgresql" else due
    lease: dict[str, Any] = {"lease": sa.bindparam("token"), "lease_until": sa.bindparam("until")}
    columns = (emails.c[name] for name in Claimed.__slots__)
    return sa.update(emails).where(emails.c.id.in_(ids)).values(status=Status.SENDING.value, **lease).returning(*columns)


LETTERS = sa.select(contents.c.id, contents.c.sender, contents.c.source, contents.c.secret).where(
    contents.c.id.in_(sa.bindparam("ids", expanding=True)), contents.c.size <= sa.bindparam("largest")
)


def erase_secrets(connection: Connection, content_id: int) -> None:
    """Erase the body of a secret message that no email needs any more."""
    open_states = [status.value for status in Status if not status.is_final]
    needed = sa.exists().where(emails.c.content_id == content_id, emails.c.status.in_(open_states))
    connection.execute(sa.update(contents).where(contents.c.id == content_id, contents.c.secret, ~needed).values(source=None))
