"""The state machine of the outbox, as a delivering worker drives it: claim, renew, settle, release, recover.

Each step is a transaction of its own, in SQLAlchemy Core, which is four times as fast as the session. All times are the
database's; SQLite's are this host's, where its file is.
"""

from __future__ import annotations

import logging
import random
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ..events import facts
from . import lease
from .database.connection import WorkerConnection, connect
from .database.sqlite_lock import take_write_lock
from .evidence import Evidence
from .health import ServerHealth, WorkerSlowdown
from .lease import Batch, Claimed, LeaseLost, StoredMessage, Trail, uptime
from .models import Status
from .presence import Presence
from .recorder import Acceptances, Recorder
from .sendings import Sendings
from .statements import LOAD_MESSAGES, claim_statement, due_statement

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.engine import Connection, Engine

log = logging.getLogger(__name__)

# Most emails in one claim: enough to make the cost of a claim small. A slow caller claims fewer.
BATCH = 200
# Messages up to this size, in bytes, are loaded with the claim, 10 MB at most; a larger one is loaded right before it is sent.
LOADED_SIZE = 50_000
ANY_SIZE = 2**31 - 1
# The reply of an email that has expired.
EXPIRED = "past its expires_at before it could be sent"

# RFC 5321, 4.5.4.1 asks a sender to retry for four to five days; but nobody reads a password reset after three.
RETRY_FOR = timedelta(days=3)
# The window of the first backoff is twice the first wait, so that the wait is that long on average.
FIRST_WAIT = timedelta(minutes=1)
SHORTEST_WAIT = timedelta(seconds=10)
LONGEST_WAIT = timedelta(hours=4)
# How long to postpone an email that may be the cause of an error, so that the others show whether the server accepts any. It must
# be longer than the longest pause of an unavailable server.
SUSPECT_WAIT = timedelta(minutes=2)


def backoff(attempt: int) -> timedelta:
    """Return how long to wait after attempt number *attempt* (the first is 1) was deferred.

    Full jitter over a doubling window that begins at two minutes, so that the first wait is about one, and is capped at four
    hours: the cap keeps a three-day life to a few dozen attempts, and the jitter keeps a thousand messages from coming back in
    the same second.
    """
    window = min(FIRST_WAIT * (1 << min(attempt, 10)), LONGEST_WAIT)
    return max(window * random.random(), SHORTEST_WAIT)  # noqa: S311 - no secret


@dataclass(frozen=True, slots=True)
class Try:
    """One attempt to transmit an email: when it began, how many seconds it took, and what the server said."""

    started_at: datetime
    seconds: float
    outcome: str
    code: int | None = None
    enhanced: str | None = None
    reply: str | None = None

    @property
    def said(self) -> str:
        """Return the code and the text of the reply."""
        return f"{self.code or ''} {self.reply or ''}".strip()


class Outbox:
    """The outbox as one worker sees it, over a database connection of its own that is kept until ``close``.

    *worker* is the name under which its attempts are recorded. An email that is deferred fails after *retry_for*. All outboxes of
    one process share *acceptances*. ``health`` says whether the SMTP server can be used, ``slowdown`` how much it takes;
    ``evidence`` and ``sendings`` help to judge a refusal.
    """

    def __init__(
        self, engine: Engine, worker: str, retry_for: timedelta = RETRY_FOR, acceptances: Acceptances | None = None
    ) -> None:
        self._engine = engine
        self._retry_for = retry_for
        self.acceptances = acceptances or Acceptances()
        self._database = WorkerConnection(engine)
        self.health = ServerHealth(self._database)
        self.slowdown, self.presence = WorkerSlowdown(self._database, worker[:100]), Presence(self._database, worker[:100])
        self.evidence, self.sendings = Evidence(self._database), Sendings(self._database)
        # Built once: building a statement costs as much as executing it.
        self._due = due_statement(engine.dialect)
        self._claim = claim_statement(engine.dialect)
        self._recorder = Recorder(engine, self._database, worker, self.acceptances, self.guard)

    @property
    def groups_commits(self) -> bool:
        """Return whether commits of several connections share one write to the disk; SQLite has one writer at a time."""
        return self._engine.dialect.name == "postgresql"

    def flush(self) -> None:
        """Flush pending commits to disk; called when nothing is due."""
        self._database.flush()

    def close(self) -> None:
        """Flush, and give the connection back to the pool."""
        self._database.close()

    def give_up(self) -> None:
        """Retry failing settles only once more, because the process must exit; may be called from any thread."""
        self._recorder.give_up()

    # Claim

    def rehearse(self) -> bool:
        """Claim a due email and record it as accepted, in a transaction that is rolled back; return False if none is due.

        Raises what would make the record of an acceptance fail: a missing table, a missing privilege.
        """
        with self._database.begin(fsync=False) as connection:
            take_write_lock(connection)
            rows = connection.execute(self._claim, {"limit": 1, "token": "rehearsal"}).all()
            for row in rows:
                email, now = Claimed(*row[:-1]), row.now
                batch = Batch("rehearsal", [email], {}, uptime(), (now, uptime()))
                attempt = Try(now, 0.0, "sent", 250, "2.0.0", "a rehearsal")
                self._recorder.rehearse(connection, batch, email, attempt)
            connection.rollback()
        self.acceptances.can_record = bool(rows)
        return self.acceptances.can_record

    def claim(self, limit: int = BATCH) -> Batch | None:
        """Lease up to *limit* due emails, urgent and old ones first; return None if nothing is due."""
        begun, token = uptime(), secrets.token_hex(16)
        # A claim that a power cut undoes is harmless, so it skips the fsync.
        with self._database.begin(fsync=False) as connection:
            take_write_lock(connection)
            rows = self._claim_each_priority(connection, limit, token)
            if not rows:
                return None
            clock = rows[-1].now, uptime()
            claimed = [Claimed(*row[:-1]) for row in rows]
            loaded = _load_messages(connection, {email.content_id for email in claimed}, LOADED_SIZE)
        messages = {row.id: _stored(row) for row in loaded if row.is_loaded}
        return Batch(token, claimed, messages, begun, clock, {row.id: Trail(row.request_id, row.traceparent) for row in loaded})

    def _claim_each_priority(self, connection: Connection, limit: int, token: str) -> list[Any]:
        """Claim as many emails of the most urgent priority as there are up to *limit*, then of the next, and return the rows."""
        rows: list[Any] = []
        while len(rows) < limit:
            more = connection.execute(self._claim, {"limit": limit - len(rows), "token": token}).all()
            if not more:
                break
            rows += more
        return rows

    def has_due(self) -> bool:
        """Return whether anything is due."""
        with self._database.autocommit() as connection:
            return connection.scalar(self._due) is not None

    def load_message(self, batch: Batch, email: Claimed) -> StoredMessage:
        """Return the message of *email*: from the batch, or from the database if it is large."""
        if email.content_id in batch.messages:
            return batch.messages[email.content_id]
        with self._database.begin() as connection:
            return _stored(_load_messages(connection, [email.content_id], ANY_SIZE)[0])

    # The lease

    def guard(self, batch: Batch) -> None:
        """Renew the lease of *batch* once half of it is over; raise LeaseLost if another worker may have the emails.

        Called before each write to the server and while waiting for it: a worker that was frozen past its lease stops here, before
        it can transmit what another worker has claimed.
        """
        if not batch.is_half_over:
            return
        begun = uptime()
        try:
            with self._database.begin() as connection:
                is_mine = lease.renew(connection, batch)
        except sa.exc.SQLAlchemyError:
            # Keep the SMTP connection: the second half of the lease is a reserve for a database that is down for a moment.
            if batch.is_over:
                raise LeaseLost from None
            return
        if not is_mine:
            raise LeaseLost
        batch.mark_renewed(begun)

    def release(self, batch: Batch) -> None:
        """Release the open emails of *batch*, unchanged."""
        if batch.open or batch.withdrawn:
            self.release_lease(batch.token)
            batch.open.clear()
            batch.withdrawn.clear()

    def release_unbegun(self, batch: Batch) -> None:
        """Release what the thread of *batch* has not begun; called from another thread, because that one hangs."""
        ids = batch.withdraw()
        if ids:
            with connect(self._engine) as connection, connection.begin():
                lease.release(connection, batch.token, only=ids)
            batch.withdrawn.clear()

    def release_lease(self, token: str) -> None:
        """Release all emails under one lease, without those that are known to be accepted; may be called from any thread."""
        with connect(self._engine) as connection, connection.begin():
            lease.release(connection, token, keep=self.acceptances.known)

    def recover(self) -> int:
        """Release the emails whose lease has expired, and return how many: their worker died or was frozen."""
        with self._database.autocommit() as connection:
            return lease.recover(connection, keep=self.acceptances.under_way)

    # Settle: each returns False if the lease was lost, so that the email is not changed.

    def settle_sent(self, batch: Batch, email: Claimed, attempt: Try) -> bool:
        """Record that the server has accepted *email*, even after the lease was lost, unless another worker has claimed it."""
        self.acceptances.begin(email.id, attempt)
        is_recorded = False
        try:
            is_recorded = self._recorder.record(batch, email, attempt, Status.SENT, tries=email.tries + 1)
        finally:
            self.acceptances.end(email.id, is_recorded=is_recorded)
        return is_recorded

    def settle_refused(self, batch: Batch, email: Claimed, attempt: Try) -> bool:
        """Record that the server will never accept *email*."""
        return self._recorder.record(batch, email, attempt, Status.FAILED, tries=email.tries + 1)

    def settle_deferred(self, batch: Batch, email: Claimed, attempt: Try) -> bool:
        """Record that *email* was deferred, and schedule its retry; after *retry_for* it fails."""
        return self._settle_for_retry(batch, email, attempt, backoff(email.tries + 1), tries=email.tries + 1)

    def postpone(self, batch: Batch, email: Claimed, attempt: Try, wait: timedelta = SUSPECT_WAIT) -> bool:
        """Queue *email* again behind the others, and record the attempt without counting it. After *retry_for* it fails."""
        return self._settle_for_retry(batch, email, attempt, wait, tries=email.tries)

    def settle_held(self, batch: Batch, email: Claimed, reason: str, attempt: Try | None = None) -> bool:
        """Record that a policy of ours, or the server, holds *email* back; ``flask mail retry`` queues it again."""
        return self._recorder.record(batch, email, attempt, Status.HELD, reply=reason)

    def settle_expired(self, batch: Batch, email: Claimed) -> bool:
        """Record that *email* has expired."""
        return self._recorder.record(batch, email, None, Status.EXPIRED, reply=EXPIRED)

    def _settle_for_retry(self, batch: Batch, email: Claimed, attempt: Try, wait: timedelta, *, tries: int) -> bool:
        now = batch.now()
        if now - email.due_since >= self._retry_for:
            extra = facts("failed", email.id, batch.trail_of(email).request_id)
            log.warning("email %d has failed, because MAIL_RETRY_FOR is over", email.id, extra=extra)
            return self._recorder.record(batch, email, attempt, Status.FAILED, tries=tries)
        return self._recorder.record(batch, email, attempt, Status.QUEUED, tries=tries, send_at=now + wait)


def _load_messages(connection: Connection, content_ids: Iterable[int], max_size: int) -> Sequence[Any]:
    return connection.execute(LOAD_MESSAGES, {"ids": list(content_ids), "max_size": max_size}).all()


def _stored(row: Any) -> StoredMessage:
    return StoredMessage(row.sender, row.source, row.secret)
