"""The background thread that delivers: at once when the bell rings, and every few seconds without it.

The sweep alone takes care of retries, scheduled mail and recovery. The RQ worker uses the same thread, so RQ's signals, its
alarms and a lost Redis connection never interrupt an email on the wire.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING
from weakref import WeakSet

import sqlalchemy as sa

from ..store.database.connection import reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from .couriers import Couriers

log = logging.getLogger(__name__)

# How often to look for due mail without a bell, in seconds: for retries, scheduled mail, and bells lost with Redis.
SWEEP_EVERY = 3.0
# Several emails within the first time are a burst: how long after its last email to poll the outbox, and how often, in seconds.
# Polling is faster than a bell, and saves most of the bells of a burst. A single email needs none: each poll is a query.
POLL_FOR, POLL_EVERY = 0.1, 0.002
# Longest time for one pass, in seconds; then the thread looks for expired leases again.
LONGEST_PASS = 10.0
# A worker that is to end when all mail is delivered gives up after so many passes in a row that the database has failed.
MOST_FAILURES = 3
# honcho kills a process five seconds after SIGTERM: time for the email on the wire, and time to release the rest, in seconds.
FINISH_WITHIN = 3.0
RELEASE_WITHIN = 0.3

_running: WeakSet[DeliveryThread] = WeakSet()


@atexit.register
def _stop_all() -> None:
    """Stop every thread before the interpreter kills it in the middle of an email."""
    for thread in list(_running):
        if thread.is_running:
            thread.stop()


def _always() -> bool:
    return True


class DeliveryThread:
    """A background thread that delivers until it is stopped.

    *make_couriers* opens the thread's connections. It must not hold a reference to the app, so that an unused app can be collected.
    With *shares_pool* the thread takes its database connections from the pool of the requests, and keeps none while idle. Once
    *is_needed* returns False, the thread ends with its next sweep.
    """

    def __init__(
        self, make_couriers: Callable[[], Couriers], *, shares_pool: bool = False, is_needed: Callable[[], bool] = _always
    ) -> None:
        self._make_couriers = make_couriers
        self._shares_pool = shares_pool
        self._is_needed = is_needed
        self._couriers: Couriers | None = None
        self._rung = threading.Event()
        # Rings are counted, so that a waiting job knows whether a pass has begun after its ring.
        self._pass_ended = threading.Condition()
        self._rings = self._heard = self._served = 0
        self._delivered_at = float("-inf")
        self._is_idle = threading.Event()
        self._obstacle = ""
        self._started = time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mail-delivery", daemon=True)

    @property
    def is_running(self) -> bool:
        """Return whether the thread runs in this process; after a fork, the child has none."""
        return self._thread.is_alive()

    def start(self) -> DeliveryThread:
        """Start the thread with a sweep, and return self."""
        self._rung.set()
        self._thread.start()
        _running.add(self)
        return self

    def ring(self) -> None:
        """Wake the thread; its next pass sees everything that is committed by now."""
        self._rung.set()

    def ring_and_wait(self, seconds: float) -> None:
        """Wake the thread, and return once it has delivered all mail that is due by now, or after *seconds*."""
        with self._pass_ended:
            self._rings += 1
            mine = self._rings
            self._rung.set()
            self._pass_ended.wait_for(lambda: self._stopping.is_set() or self._served >= mine, timeout=seconds)

    def wait_until_idle(self, stopping: threading.Event) -> str:
        """Return once no mail is due, or none can go out, or *stopping* is set; return why none can go out, or nothing."""
        while not stopping.is_set() and not self._is_idle.wait(0.1):
            # The pass that delivers the last email does not look once more.
            self._rung.set()
        return self._obstacle

    def stop(self) -> bool:
        """Stop the thread: finish the email on the wire within three seconds, and release the rest of the batch.

        Return False if the thread hangs even after its SMTP connection was cut. Its emails are released nevertheless, unless
        the database hangs too.
        """
        # The exit hook must not wait once more for a thread that hangs.
        _running.discard(self)
        self._stopping.set()
        couriers = self._couriers
        if couriers is not None:
            couriers.stop()
        self._rung.set()
        with self._pass_ended:
            self._pass_ended.notify_all()
        if not self._join(couriers, FINISH_WITHIN) and couriers is not None:
            couriers.cut()
            if not self._join(couriers, RELEASE_WITHIN):
                # In another thread, because the database may hang.
                helper = threading.Thread(target=couriers.abandon, daemon=True)
                helper.start()
                helper.join(RELEASE_WITHIN)
        return self._join(couriers, 0)

    def _join(self, couriers: Couriers | None, seconds: float) -> bool:
        """Wait until the thread and its couriers have ended, for *seconds* at most, and return whether they have."""
        end = time.monotonic() + seconds
        self._thread.join(seconds)
        has_ended = couriers is None or couriers.join(max(end - time.monotonic(), 0))
        return has_ended and not self._thread.is_alive()

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            self._rung.wait(SWEEP_EVERY)
            self._hear()
            if self._stopping.is_set() or not self._is_needed():
                break
            try:
                self._pass()
                failures = 0
            except sa.exc.SQLAlchemyError as error:
                failures += 1
                log.error("mail delivery waits: the database cannot be used: %s", reason(error))
                self._fail(failures, f"the database cannot be used: {reason(error)}")
                self._stopping.wait(min(0.2 * failures, SWEEP_EVERY))
            except Exception as error:
                # The thread must survive every error: mail that waits for ever is worse than an error in the log.
                failures += 1
                log.exception("mail delivery failed with an unexpected error, and continues")
                self._fail(failures, f"an unexpected error, see the log: {error!r:.200}")
                self._stopping.wait(1)
            with self._pass_ended:
                self._served = self._heard
                self._pass_ended.notify_all()
        if self._couriers is not None:
            with suppress(Exception):  # an operator sees that it was not seen for a while
                self._couriers.leave()
        self._drop()

    def _hear(self) -> None:
        """Take note of the bell: what was committed before this is delivered in the pass that follows."""
        self._rung.clear()
        self._heard = self._rings

    def _fail(self, failures: int, obstacle: str) -> None:
        self._drop()
        if failures >= MOST_FAILURES:
            self._obstacle = obstacle
            self._is_idle.set()

    def _pass(self) -> None:
        if self._couriers is None:
            self._couriers = self._make_couriers()
        couriers, until = self._couriers, 0.0
        while not self._stopping.is_set():
            count = couriers.run(LONGEST_PASS, waits_for_hung=False)
            if count:
                until = time.monotonic() + POLL_FOR if self._is_burst(count) else until
            elif couriers.obstacle or not couriers.has_left_due:
                self._obstacle = couriers.obstacle
                self._is_idle.set()
            if not self._has_more_before(until, couriers):
                break
            couriers.beat("delivering", self._started)
        couriers.beat(couriers.obstacle or "waiting for mail", self._started)
        couriers.on_idle(disconnect=self._shares_pool)

    def _is_burst(self, count: int) -> bool:
        """Return whether *count* emails, which were just delivered, came together or shortly after others."""
        before, self._delivered_at = self._delivered_at, time.monotonic()
        return count > 1 or self._delivered_at - before < POLL_FOR

    def _has_more_before(self, end: float, couriers: Couriers) -> bool:
        """Poll the outbox until *end*, and return whether more mail is due."""
        while time.monotonic() < end and not self._stopping.is_set():
            if self._rung.wait(POLL_EVERY) or couriers.has_due():
                self._hear()
                return True
        return False

    def _drop(self) -> None:
        couriers, self._couriers = self._couriers, None
        if couriers is not None:
            with suppress(Exception):  # the next pass opens new connections anyway
                couriers.close()
