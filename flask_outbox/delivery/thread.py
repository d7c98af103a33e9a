"""The background thread that delivers: at once when the bell rings, and every few seconds without it.

The sweep between the rings is all there is to retries, scheduled mail and recovery. The RQ worker uses the same thread, so
that RQ's signals, its alarms and a lost Redis never touch an email on the wire.
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

if TYPE_CHECKING:
    from collections.abc import Callable

    from .couriers import Couriers

log = logging.getLogger(__name__)

# How long mail may wait that no bell was rung for, in seconds; a retry, a scheduled email, a lost Redis.
SWEEP_EVERY = 3.0
# Mail seldom comes alone: for so long after the last, in seconds, the outbox is looked at this often. That is quicker than a
# bell, and a burst then costs few of them.
LINGER, LOOK_EVERY = 0.1, 0.002
# How long one pass may take before the thread looks for lost leases again, in seconds.
LONGEST_PASS = 10.0
# honcho kills five seconds after SIGTERM: three for the email on the wire, and a little for giving back the rest.
FINISH_WITHIN = 3.0
GIVE_BACK_WITHIN = 0.3

_running: WeakSet[Deliverer] = WeakSet()


@atexit.register
def _stop_all() -> None:
    """Stop every thread before the interpreter cuts them off in the middle of an email."""
    for deliverer in list(_running):
        if deliverer.is_running:
            deliverer.stop()


def _always() -> bool:
    return True


class Deliverer:
    """A background thread that delivers until it is stopped.

    *make_delivery* opens the connections that it uses. It must not hold the app: an app that nobody needs any more ends its
    thread. With *is_guest* the thread shares the app's connection pool with requests, and keeps no connection while idle.
    Once *is_needed* returns false, the thread ends with its next sweep.
    """

    def __init__(
        self, make_delivery: Callable[[], Couriers], *, is_guest: bool = False, is_needed: Callable[[], bool] = _always
    ) -> None:
        self._make_delivery = make_delivery
        self._is_guest = is_guest
        self._is_needed = is_needed
        self._delivery: Couriers | None = None
        self._wanted = threading.Event()
        self._idle = threading.Condition()
        self._rests = 0
        self._has_rested = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="deliverer", daemon=True)

    @property
    def is_running(self) -> bool:
        """Return whether the thread is there; after a fork it is not."""
        return self._thread.is_alive()

    def start(self) -> Deliverer:
        """Start the thread, beginning with a sweep, and return the deliverer."""
        self._wanted.set()
        self._thread.start()
        _running.add(self)
        return self

    def ring(self) -> None:
        """Wake the thread; what is committed by now is seen by the pass that follows."""
        self._wanted.set()

    def ring_and_wait(self, seconds: float) -> None:
        """Wake the thread, and return when it has found nothing more to do, or after *seconds*."""
        with self._idle:
            seen = self._rests
            self._wanted.set()
            self._idle.wait_for(lambda: self._stopping.is_set() or self._rests > seen, timeout=seconds)

    def wait_until_idle(self, stopping: threading.Event) -> None:
        """Return when a whole pass has found nothing more to do, or when *stopping* is set."""
        while not stopping.is_set() and not self._has_rested.wait(0.1):
            pass

    def stop(self) -> bool:
        """Finish the email on the wire if that takes no longer than three seconds, give back the rest, and end.

        Return False where the thread hung even after its line was cut; what it held has been given back all the same, unless
        the database hangs too.
        """
        # The exit hook must not wait once more for a thread that hangs.
        _running.discard(self)
        self._stopping.set()
        delivery = self._delivery
        if delivery is not None:
            delivery.stop()
        self._wanted.set()
        with self._idle:
            self._idle.notify_all()
        self._thread.join(FINISH_WITHIN)
        if self._thread.is_alive() and delivery is not None:
            delivery.cut()
            self._thread.join(GIVE_BACK_WITHIN)
            if self._thread.is_alive():
                # In a thread of its own: it may be the database that hangs.
                helper = threading.Thread(target=delivery.abandon, daemon=True)
                helper.start()
                helper.join(GIVE_BACK_WITHIN)
        return not self._thread.is_alive()

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            self._wanted.wait(SWEEP_EVERY)
            self._wanted.clear()
            if self._stopping.is_set() or not self._is_needed():
                break
            try:
                self._pass()
                failures = 0
            except sa.exc.SQLAlchemyError as error:
                failures += 1
                log.error("mail: the database is away, trying again: %s", str(error.__cause__ or error).partition("\n")[0])
                self._drop()
                self._stopping.wait(min(0.2 * failures, SWEEP_EVERY))
            except Exception:
                # The thread must outlive whatever this is: mail that waits for ever is worse than an error in the log.
                log.exception("mail: the deliverer stumbled, and goes on")
                self._drop()
                self._stopping.wait(1)
            with self._idle:
                self._rests += 1
                self._idle.notify_all()
        self._drop()

    def _pass(self) -> None:
        if self._delivery is None:
            self._delivery = self._make_delivery()
        until = 0.0
        while not self._stopping.is_set():
            if self._delivery.run(LONGEST_PASS):
                until = time.monotonic() + LINGER
            else:
                self._has_rested.set()
            if not self._is_wanted_before(until, self._delivery):
                break
        self._delivery.on_idle(give_back=self._is_guest)

    def _is_wanted_before(self, end: float, delivery: Couriers) -> bool:
        """Return whether there is more to deliver in the moments after the last email."""
        while time.monotonic() < end and not self._stopping.is_set():
            if self._wanted.wait(LOOK_EVERY) or delivery.has_due():
                self._wanted.clear()
                return True
        return False

    def _drop(self) -> None:
        delivery, self._delivery = self._delivery, None
        if delivery is not None:
            with suppress(Exception):  # whatever it is, the next pass makes new connections
                delivery.close()
