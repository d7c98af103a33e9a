"""Delivery: one pass over the due emails, from claim to settle."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ..errors import TransmissionError, Unavailable
from ..smtp.envelope import Reply
from ..store.lease import LeaseLost
from ..store.outbox import BATCH
from ..tracing import delivering, is_traced, note_outcome
from .envelopes import envelope_of, following_envelope
from .progress import Progress, Waits
from .settling.settler import Settler, attempt_of, redact

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..smtp.transport import Transport
    from ..store.lease import Batch, Claimed
    from ..store.outbox import Outbox, Try
    from .speed.pace import Pace
    from .speed.rate import Rate

log = logging.getLogger(__name__)

SUPPRESSED = Reply(250, "not transmitted: MAIL_SUPPRESS_SEND is on")
NOT_TRACED = nullcontext()
# Longest time for one batch, in seconds: an urgent email that arrives meanwhile goes first in the next batch.
LONGEST_BATCH = 1.0
# How often to recover the emails of dead workers, in seconds.
RECOVER_EVERY = 1.0
# Longest wait for a server that accepts nothing since it asked to slow down, in seconds; then the pass ends, as it does for an
# unavailable server, and extra connections are closed.
LONGEST_PROBE = 2.0
# Longest sleep while MAIL_RATE allows no email, in seconds; then check again whether mail is due.
LONGEST_SLEEP = 5.0


class Delivery:
    """Delivers from *outbox* through *transport*; with MAIL_SUPPRESS_SEND *transport* is None, and nothing is transmitted.

    *rate* and *pace* limit the speed. *on_backlog* is called after each full claim. *is_extra* marks an extra connection of the
    worker: a server that refuses it is not unavailable. ``size`` is how many emails it claims at a time. ``obstacle`` says why the
    last run could not deliver what is due, in one sentence, or is empty; ``has_left_due`` is whether it has left anything due.

    It belongs to one thread; ``stop``, ``cut``, ``abandon`` and ``write_off`` may be called from another.
    """

    def __init__(
        self,
        outbox: Outbox,
        transport: Transport | None,
        rate: Rate | None,
        pace: Pace,
        on_backlog: Callable[[], None],
        *,
        is_extra: bool = False,
    ) -> None:
        self._outbox = outbox
        self._transport = transport
        self._rate = rate
        self._pace = pace
        self._on_backlog = on_backlog
        self._is_extra = is_extra
        self._settler = Settler(outbox, pace, is_extra=is_extra)
        self._stopping = threading.Event()
        self._batch: Batch | None = None
        self.size = BATCH
        self._waits = Waits(groups_commits=outbox.groups_commits)
        self._recovered_at = float("-inf")
        self.obstacle = ""
        self.has_left_due = False
        self.progress = Progress()
        self.is_connecting = False
        # Asked once for each batch.
        self._is_traced = False

    def write_off(self) -> None:
        """Release what a delivery that hangs has not begun; the email on the wire stays its own, under its lease."""
        step, batch = self.progress.step, self._batch
        if batch is not None:
            # If that fails, the lease expires by itself, or the delivery releases them when it hangs no more.
            with suppress(sa.exc.SQLAlchemyError):
                self._outbox.release_unbegun(batch)
        self.progress.write_off(step)

    @property
    def is_slow(self) -> bool:
        """Return whether the delivery waits so much that extra connections would be of use."""
        return self._waits.are_long

    @property
    def is_refused(self) -> bool:
        """Return whether the server has refused this extra connection."""
        return self._settler.is_refused

    def has_due(self) -> bool:
        """Return whether anything is due."""
        with self.progress.working():
            return self._outbox.has_due()

    def stop(self) -> None:
        """Ask the delivery to stop: it finishes the email on the wire and releases the rest of the batch."""
        self._stopping.set()

    def cut(self) -> None:
        """Cut the SMTP connection; an email on the wire is queued again, unless the server may have accepted it."""
        self._settler.is_cut = True
        self._outbox.give_up()
        if self._transport is not None:
            self._transport.cut()

    def abandon(self) -> None:
        """Release all claimed emails; called when the thread hangs and the process must exit.

        An email that the server has accepted is not released: its lease expires by itself.
        """
        batch = self._batch
        if batch is not None:
            with suppress(sa.exc.SQLAlchemyError):
                self._outbox.release_lease(batch.token)

    def close(self) -> None:
        """Close the connections to the server and to the database."""
        if self._transport is not None:
            self._transport.close()
        self._outbox.close()

    def beat(self, doing: str, started: float) -> None:
        """Record in the database that this worker is alive, and what it is *doing*; *started* is ``time.monotonic()`` then."""
        self._outbox.presence.beat(doing, started)

    def leave(self) -> None:
        """Record in the database that this worker has ended."""
        self._outbox.presence.leave()

    def on_idle(self, *, disconnect: bool = False) -> None:
        """Flush pending commits to disk and close an idle SMTP connection.

        With *disconnect* the database connection returns to its pool.
        """
        if disconnect:
            self._outbox.close()
        else:
            self._outbox.flush()
        if self._transport is not None:
            self._transport.close_if_idle()

    def run(self, seconds: float = float("inf")) -> int:
        """Recover expired leases, then deliver until nothing is due or *seconds* have passed; return how many were settled."""
        end, before, goes_on = time.monotonic() + seconds, self._settler.count, True
        self.obstacle, self.has_left_due = "", True
        with self.progress.working():
            self._recover()
            while goes_on and not self._is_over(end) and self._is_due() and self._may_claim(end):
                goes_on = self._deliver_batch(end)
                self.progress.begin_step()
        return self._settler.count - before

    def _deliver_batch(self, end: float) -> bool:
        """Claim and deliver one batch; return whether more may be due."""
        limit = 1 if self._rate else min(self.size, self._pace.size)
        batch = self._outbox.claim(limit)
        if batch is None:
            return False
        claimed, settled = len(batch.open), self._settler.count
        if claimed == limit:
            self._on_backlog()
        # A batch that was not full, and is settled, was everything. The next pass claims what has arrived since.
        return self._deliver(batch, end) and (claimed == limit or self._settler.count - settled < claimed)

    def _is_due(self) -> bool:
        self.has_left_due = self._outbox.has_due()
        return self.has_left_due

    def _recover(self) -> None:
        if time.monotonic() - self._recovered_at < RECOVER_EVERY:
            return
        recovered = self._outbox.recover()
        self._recovered_at = time.monotonic()
        if recovered:
            log.warning("%d %s queued again, because their worker died", recovered, "email" if recovered == 1 else "emails")

    def _may_claim(self, end: float) -> bool:
        if self._outbox.health.is_paused():
            self.obstacle = "no email can be sent at the moment: flask mail health says why"
            return False
        # A server that asks to slow down may refuse a connection too.
        return (
            self._can_record()
            and (not self._pace.is_slowed or self._is_turn(self._pace.wait, end))
            and self._is_connected()
            and (self._rate is None or self._is_turn(self._rate.wait, end))
        )

    def _can_record(self) -> bool:
        self.obstacle = self._settler.rehearse()
        # If another worker has taken what was due, nothing was rehearsed.
        return self._outbox.acceptances.can_record

    def _note_unavailable(self, error: Unavailable) -> None:
        self.obstacle = f"no email can be sent: {redact(error)}"
        self._settler.note_unavailable(error)

    def _is_over(self, end: float) -> bool:
        return self._stopping.is_set() or time.monotonic() >= end

    def _is_connected(self) -> bool:
        """Connect if necessary. That comes before the claim, because it may take longer than a lease."""
        if self._transport is None or self._transport.is_connected:
            return True
        try:
            self.is_connecting = True
            self._transport.connect()
        except Unavailable as error:
            self._note_unavailable(error)
            return False
        finally:
            self.is_connecting = False
        return True

    def _is_turn(self, wait: Callable[[], float], end: float) -> bool:
        """Sleep until *wait* returns no more seconds to wait; return False if there is a reason not to claim after that.

        That comes before the claim, so that the most urgent email goes.
        """
        while not self._is_over(end) and self._outbox.has_due():
            seconds = wait()
            if seconds <= 0:
                return True
            if self._pace.is_blocked and seconds > LONGEST_PROBE:
                return False
            self.progress.rest()
            self._stopping.wait(min(seconds, LONGEST_SLEEP, max(end - time.monotonic(), 0)))
            self.progress.begin_step()
        return False

    def _deliver(self, batch: Batch, end: float) -> bool:
        """Deliver *batch*, release the rest of it, and return whether to claim another."""
        self._batch, before, begun = batch, self._settler.count, time.monotonic()
        try:
            self._deliver_each(batch, min(end, begun + LONGEST_BATCH))
            self._settler.end_batch(batch)
            # As many as take LONGEST_BATCH at this pace.
            pace = (self._settler.count - before) / (time.monotonic() - begun)
            self.size = max(1, min(BATCH, int(pace * LONGEST_BATCH)))
        except LeaseLost:
            log.warning("this worker was frozen until its lease expired; another worker may have its emails")
            self._settler.drop_suspects()
            batch.open.clear()
        except Unavailable as error:
            self._settler.drop_suspects()
            self._outbox.release(batch)
            self._note_unavailable(error)
            return False
        finally:
            self._outbox.release(batch)
            self._batch = None
        return not self._is_over(end)

    def _deliver_each(self, batch: Batch, end: float) -> None:
        self._is_traced, waiting = is_traced(), iter(list(batch.open.values()))
        email = next(waiting, None)
        requests = self._pace.requests
        # The batch is over if the rest of it was released, if the server asks this connection or another one to slow down, or if a
        # settle has failed: then nothing goes out before the next rehearsal.
        while email is not None and self._goes_on(batch, email, requests):
            # Chosen now, because the envelope of the following email goes out with this message.
            following = None if self._is_over(end) else next(waiting, None)
            self.progress.begin_step()
            self._outbox.guard(batch)
            if batch.begin(email):
                with delivering(email.id, batch.trail_of(email).traceparent) if self._is_traced else NOT_TRACED:
                    self._deliver_email(batch, email, following)
            email = following

    def _goes_on(self, batch: Batch, email: Claimed, requests: int) -> bool:
        is_open = email.id in batch.open and not self._stopping.is_set()
        return is_open and self._pace.requests == requests and self._outbox.acceptances.can_record

    def _deliver_email(self, batch: Batch, email: Claimed, following: Claimed | None) -> None:
        started_at, begun = batch.now(), time.monotonic()
        known = self._outbox.acceptances.attempt_of(email.id)
        if known is not None:
            self._settler.settle_known(batch, email, known)
            return
        if email.expires_at is not None and email.expires_at <= started_at:
            self._settler.settle_expired(batch, email)
            return
        try:
            reply = self._transmit(batch, email, following)
        except TransmissionError as error:
            self._settle(batch, email, error, attempt_of(error, started_at, time.monotonic() - begun))
            return
        attempt = attempt_of(reply, started_at, time.monotonic() - begun)
        self._settle(batch, email, reply, attempt)
        self._waits.note(attempt.seconds, time.monotonic() - begun - attempt.seconds)

    def _settle(self, batch: Batch, email: Claimed, said: Reply | TransmissionError, attempt: Try) -> None:
        if self._is_traced:
            note_outcome(attempt.outcome, attempt.code, is_error=not isinstance(said, Reply))
        self._settler.settle(batch, email, said, attempt)

    def _transmit(self, batch: Batch, email: Claimed, following: Claimed | None) -> Reply:
        envelope = envelope_of(self._outbox, batch, email)
        if self._transport is None:
            return SUPPRESSED
        next_one = following_envelope(batch, following)
        return self._transport.transmit(envelope, next_one, guard=lambda: self._outbox.guard(batch))
