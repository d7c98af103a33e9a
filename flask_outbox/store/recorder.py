"""Recorder: writes what became of an email, and tries again until it is written."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .database.connection import reason
from .failure import describe_failure
from .lease import LeaseLost
from .models import Status
from .statements import SettleStatements, erase_secret, record_unclaimed

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Connection, Engine

    from .database.connection import WorkerConnection
    from .lease import Batch, Claimed
    from .outbox import Try

log = logging.getLogger(__name__)

# How long to wait before a settle that failed is tried again, in seconds: a little longer each time, up to the longest.
FIRST_RETRY, LONGEST_RETRY = 0.2, 2.0
# After so many failures an acceptance is recorded without its attempt if need be: the table of attempts may be missing, and an
# incomplete history is better than a second copy.
FAILURES_WITH_ATTEMPT = 8
# How often to repeat in the log that a settle fails, in failures.
REMIND_EVERY = 30

Row = dict[str, Any]


class Acceptances:
    """What this process knows the server to have accepted, until the outbox has recorded it.

    All outboxes of one app share one object, because an email that one connection has transmitted must not go out on another.
    ``can_record`` is whether recording is known to work: false before the first rehearsal, and after each settle that failed.
    """

    def __init__(self) -> None:
        self.can_record = False
        self._known: dict[int, Try] = {}
        self._under_way: set[int] = set()

    def begin(self, email_id: int, attempt: Try) -> None:
        """Remember that the server accepted the email in *attempt*, which is about to be recorded."""
        self._known[email_id] = attempt
        self._under_way.add(email_id)

    def end(self, email_id: int, *, is_recorded: bool) -> None:
        """Note that nobody is recording the email any more, and forget it if it *is_recorded*."""
        self._under_way.discard(email_id)
        if is_recorded:
            self._known.pop(email_id, None)

    def attempt_of(self, email_id: int) -> Try | None:
        """Return the attempt in which the server accepted the email, if that is not recorded yet."""
        return self._known.get(email_id)

    @property
    def known(self) -> list[int]:
        """Return the ids of all accepted emails that are not recorded; this process must not release them."""
        return list(self._known)

    @property
    def under_way(self) -> list[int]:
        """Return the ids of those that a thread is recording; this process must not recover them."""
        return list(self._under_way)


class Recorder:
    """Settles emails over *database*, one worker's connection to *engine*.

    *worker* is the name under which attempts are recorded. *renew* renews the lease of a batch, and may raise LeaseLost.
    """

    def __init__(
        self, engine: Engine, database: WorkerConnection, worker: str, acceptances: Acceptances, renew: Callable[[Batch], None]
    ) -> None:
        self._database = database
        self._worker = worker[:100]
        self._acceptances = acceptances
        self._renew = renew
        self._statements = SettleStatements(engine)
        self._giving_up = threading.Event()

    def give_up(self) -> None:
        """Retry only once more, because the process must exit; may be called from another thread."""
        self._giving_up.set()

    def rehearse(self, connection: Connection, batch: Batch, email: Claimed, attempt: Try) -> None:
        """Record in the transaction on *connection* that *email* was accepted; raise what makes that fail."""
        self._statements.execute(connection, _settled(batch, email, attempt, Status.SENT, {}), self._row(email, attempt))
        erase_secret(connection, email.content_id)

    def record(self, batch: Batch, email: Claimed, attempt: Try | None, status: Status, **values: Any) -> bool:
        """Settle *email*; return False if the lease was lost, so that the email is not changed.

        After an error try again on a new connection: otherwise an accepted email would go out again. An acceptance is retried
        until it is recorded or the process must exit, anything else as long as the lease lasts.
        """
        # Fixed for all tries, so that a commit whose answer was lost is recognized.
        settled, failures = _settled(batch, email, attempt, status, values), 0
        row = None if attempt is None else self._row(email, attempt)
        while True:
            is_last = self._giving_up.is_set() or (status is not Status.SENT and batch.is_over)
            try:
                is_settled = self._write(batch, email, settled, row, may_drop_attempt=failures >= FAILURES_WITH_ATTEMPT)
            except Exception as error:
                failures += 1
                self._note_failure(email, status, failures, error)
                if is_last:
                    raise
                self._wait(batch, failures)
            else:
                batch.open.pop(email.id, None)
                return is_settled

    def _note_failure(self, email: Claimed, status: Status, failures: int, error: Exception) -> None:
        self._acceptances.can_record = False
        if failures % REMIND_EVERY == 1:
            message = "email %d is %s, but the database cannot record it, try %d: %s"
            log.error(message, email.id, status, failures, reason(error), extra={"email_id": email.id})

    def _wait(self, batch: Batch, failures: int) -> None:
        """Wait before the next try, and keep the lease meanwhile."""
        self._giving_up.wait(min(FIRST_RETRY * failures, LONGEST_RETRY))
        # A lost lease is no reason to stop: the next try finds out whether another worker has claimed the email.
        with suppress(LeaseLost):
            self._renew(batch)

    def _write(self, batch: Batch, email: Claimed, settled: Row, row: Row | None, *, may_drop_attempt: bool) -> bool:
        try:
            return self._write_once(batch, email, settled, row)
        except Exception:
            if row is None or not may_drop_attempt:
                raise
        return self._write_once(batch, email, settled, None)

    def _write_once(self, batch: Batch, email: Claimed, settled: Row, row: Row | None) -> bool:
        message = batch.messages.get(email.content_id)
        if settled["new_finished_at"] is not None and (message is None or message.secret):
            with self._database.begin() as connection:
                is_mine = self._statements.execute(connection, settled, row)
                erase_secret(connection, email.content_id)
        else:
            with self._database.begin_on_driver() as connection:
                is_mine = self._statements.execute(connection, settled, row)
        return is_mine or (settled["new_status"] == Status.SENT and self._record_unclaimed(email, settled))

    def _record_unclaimed(self, email: Claimed, settled: Row) -> bool:
        with self._database.begin() as connection:
            is_recorded = record_unclaimed(connection, settled)
            if is_recorded:
                erase_secret(connection, email.content_id)
        return is_recorded

    def _row(self, email: Claimed, attempt: Try) -> Row:
        # Written out, because this runs for every email: a loop over the fields takes three times as long.
        return {
            "email_id": email.id,
            "worker": self._worker,
            "started_at": attempt.started_at,
            "seconds": attempt.seconds,
            "outcome": attempt.outcome,
            "code": attempt.code,
            "enhanced": attempt.enhanced,
            "reply": attempt.reply,
        }


def _settled(batch: Batch, email: Claimed, attempt: Try | None, status: Status, values: Row) -> Row:
    reply = values["reply"] if "reply" in values or attempt is None else attempt.said
    return {
        "email_id": email.id,
        "own_lease": batch.token,
        "new_status": status.value,
        "new_reply": reply,
        "new_failure": describe_failure(reply) if status is Status.FAILED else None,
        "new_tries": values.get("tries", email.tries),
        "new_send_at": values.get("send_at", email.send_at),
        "new_finished_at": batch.now() if status.is_final else None,
    }
