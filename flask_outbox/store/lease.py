"""Leases: what a worker has claimed, for how long, and how a lease is renewed, released, or recovered from a dead worker."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from .database.clock import Now
from .models import Status, emails

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.engine import Connection

# After this time a killed worker's emails may be claimed again; with the next sweep they go out well within 90 s.
LEASE = timedelta(seconds=60)
UNCLAIMED = {"status": Status.QUEUED.value, "lease": None, "lease_until": None}


class LeaseEnd(Now):
    """The time in SQL at which a lease that begins now expires."""

    inherit_cache = True

    @property
    def after(self) -> timedelta:
        """Return how long a lease lasts."""
        return LEASE


class LeaseLost(Exception):  # noqa: N818 - internal, and no error: another worker takes over
    """The lease has expired, so another worker may have claimed the emails."""


def uptime() -> float:
    """Return seconds from a clock that, on Linux, also counts while the host is suspended."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claimed email: the columns that a worker needs."""

    id: int
    content_id: int
    key: str | None
    recipient: str
    tries: int
    due_since: datetime
    expires_at: datetime | None
    priority: int
    send_at: datetime

    @property
    def sending(self) -> str | int:
        """Return what all emails of one sending have in common: their key, or without a key their message."""
        return self.content_id if self.key is None else self.key


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """The message of a claimed email; *source* is None if it was secret and has been erased."""

    sender: str
    source: bytes | None
    secret: bool


class Trail(NamedTuple):
    """Where a message comes from: the id of the request that enqueued it, and the W3C traceparent of that moment."""

    request_id: str | None = None
    traceparent: str | None = None


NO_TRAIL = Trail()


class Batch:
    """The emails of one claim, under one lease: ``open`` are those not yet settled, ``messages`` what to send, by content id.

    It belongs to one thread. If that thread hangs, another one may withdraw the emails that it has not begun: they leave
    ``open`` for ``withdrawn``, until they are released.

    *trails* are where the messages come from, by content id, also of messages that are too large to be in *messages*. *begun* is
    the uptime before the claim was sent to the database. *clock* is the database's time, and the uptime at which it
    was read.
    """

    def __init__(
        self,
        token: str,
        claimed: list[Claimed],
        messages: dict[int, StoredMessage],
        begun: float,
        clock: tuple[datetime, float],
        trails: dict[int, Trail] | None = None,
    ) -> None:
        self.token = token
        self.open = {email.id: email for email in sorted(claimed, key=lambda email: (email.priority, email.send_at, email.id))}
        self.messages = messages
        self._trails = trails or {}
        self.withdrawn: list[int] = []
        self._begun: set[int] = set()
        self._lock = threading.Lock()
        self._renewed_at = begun
        self._clock = clock

    def trail_of(self, email: Claimed) -> Trail:
        """Return where the message of *email* comes from."""
        return self._trails.get(email.content_id, NO_TRAIL)

    def begin(self, email: Claimed) -> bool:
        """Begin to deliver *email*; return False if it was withdrawn."""
        with self._lock:
            self._begun.add(email.id)
            return email.id in self.open

    def withdraw(self) -> list[int]:
        """Withdraw the emails that are not begun, and return the ids of all withdrawn ones; called from another thread."""
        with self._lock:
            self.withdrawn += [email_id for email_id in list(self.open) if email_id not in self._begun]
            for email_id in self.withdrawn:
                self.open.pop(email_id, None)
            return list(self.withdrawn)

    def now(self) -> datetime:
        """Return the database's time without another query."""
        now, read_at = self._clock
        return now + timedelta(seconds=uptime() - read_at)

    @property
    def age(self) -> float:
        """Return the seconds since the claim or the last renewal, counted from before the statement was sent."""
        return uptime() - self._renewed_at

    @property
    def is_half_over(self) -> bool:
        """Return whether it is time to renew the lease."""
        return self.age >= LEASE.total_seconds() / 2

    @property
    def is_over(self) -> bool:
        """Return whether the lease has expired, so that another worker may have the emails."""
        return self.age >= LEASE.total_seconds()

    def mark_renewed(self, begun: float) -> None:
        """Count the lease's age from *begun*, the uptime before the renewal was sent to the database."""
        self._renewed_at = begun


def renew(connection: Connection, batch: Batch) -> bool:
    """Renew the lease of *batch* from now on, and return whether it still covers all open emails.

    It may have expired already: as long as the token is in the rows, no other worker has claimed them.
    """
    mine = emails.c.lease == batch.token, emails.c.id.in_(list(batch.open))
    renew = sa.update(emails).where(*mine).values(lease_until=LeaseEnd()).returning(emails.c.id)
    renewed = set(connection.scalars(renew))
    # Read after the UPDATE: another thread may have withdrawn and released some meanwhile.
    return renewed.issuperset(list(batch.open))


def release(connection: Connection, token: str, *, only: Collection[int] | None = None, keep: Collection[int] = ()) -> None:
    """Release the emails under the lease *token*, unchanged: all, or *only* these ids, and never those to *keep*."""
    mine = [emails.c.lease == token, emails.c.status == Status.SENDING.value]
    if only is not None:
        mine.append(emails.c.id.in_(only))
    if keep:
        mine.append(emails.c.id.not_in(keep))
    connection.execute(sa.update(emails).where(*mine).values(UNCLAIMED))


def recover(connection: Connection, *, keep: Collection[int] = ()) -> int:
    """Release the emails whose lease has expired, and return how many: their worker died or was frozen.

    Those to *keep*, by id, are left alone.
    """
    lost = [emails.c.status == sa.literal(Status.SENDING.value, literal_execute=True), emails.c.lease_until < Now()]
    if keep:
        lost.append(emails.c.id.not_in(keep))
    if connection.scalar(sa.select(emails.c.id).where(*lost).limit(1)) is None:
        return 0
    return connection.execute(sa.update(emails).where(*lost).values(UNCLAIMED)).rowcount
