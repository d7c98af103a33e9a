"""Couriers: opens extra SMTP connections when the server is slow and mail is waiting, or when a connection hangs.

An email to a distant server costs at least one round trip; several connections make several round trips at the same time. And a
server may take minutes to answer on one connection while another would do: what a hung courier has not begun is released, and
if no courier is left that works, another one takes over.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Callable

    from .delivery import Delivery

log = logging.getLogger(__name__)

# How often a courier looks for due mail while others are still delivering, in seconds.
CHECK_DUE_EVERY = 0.05
# How often to look for couriers that hang, in seconds.
WATCH_EVERY = 0.1
# Longest pass of a courier that stands in for one that hangs, in seconds; then it looks again whether that one works.
LONGEST_STAND_IN = 5.0
# How long to open no extra connection after the server has refused one, in seconds: its limit is lower than ours.
PAUSE_AFTER_REFUSAL = 600.0
# The same after an error that says nothing about the server's limit: the database is down, or nobody can connect.
PAUSE_AFTER_ERROR = 3.0


class MakeDelivery(Protocol):
    """A function that makes a delivery with connections of its own, for the first courier or for an extra one."""

    def __call__(self, on_backlog: Callable[[], None], *, is_extra: bool) -> Delivery:
        """Return the delivery; it calls *on_backlog* after each full claim."""


class Couriers:
    """Delivers in the thread that calls ``run``, and in up to *most* - 1 extra threads, each with its own ``Delivery``.

    A pass calls *ring* once when mail is waiting, so that idle workers join in. With *is_alone* there is only the caller's
    thread, because the database is one connection. ``run``, ``on_idle`` and ``close`` belong to one thread; ``stop``, ``cut``,
    ``join`` and ``abandon`` may be called from another.
    """

    def __init__(self, make: MakeDelivery, most: int, ring: Callable[[], None], *, is_alone: bool = False) -> None:
        self._make, self._most, self._ring = make, 1 if is_alone else most, ring
        self._first = make(self._on_backlog, is_extra=False)
        self._extra: dict[Delivery, threading.Thread] = {}
        self._lock = threading.Lock()
        self._end = self._paused_until = 0.0
        self._has_rung = False
        self._settled = 0
        self._stopping, self._closed = threading.Event(), threading.Event()
        self._watcher = None if is_alone else threading.Thread(target=self._watch, name="couriers", daemon=True)

    def run(self, seconds: float = float("inf"), *, waits_for_hung: bool = True) -> int:
        """Deliver until nothing is due or *seconds* have passed; return how many emails were settled.

        Wait for the extra couriers, also after *seconds*, because they have emails on the wire; for those that hang only if
        *waits_for_hung*.
        """
        if self._watcher is not None and self._watcher.ident is None:
            self._watcher.start()
        self._end, self._has_rung = time.monotonic() + seconds, False
        count = self._first.run(seconds)
        awaited = self._awaited(hung=waits_for_hung)
        while awaited:
            awaited[0].join(CHECK_DUE_EVERY)
            # Before the run, which then finds what the last one has released.
            awaited = self._awaited(hung=waits_for_hung)
            count += self._first.run(self._end - time.monotonic())
        with self._lock:
            settled, self._settled = self._settled, 0
        return count + settled

    def _awaited(self, *, hung: bool) -> list[threading.Thread]:
        with self._lock:
            return [thread for delivery, thread in self._extra.items() if hung or not delivery.progress.is_written_off]

    @property
    def obstacle(self) -> str:
        """Return why the last run could not deliver what is due, in one sentence; empty if nothing was in the way."""
        return self._first.obstacle

    @property
    def has_left_due(self) -> bool:
        """Return whether the last run has left anything due, or has an email on the wire."""
        return self._first.has_left_due or bool(self._extra)

    def has_due(self) -> bool:
        """Return whether anything is due."""
        return self._first.has_due()

    def stop(self) -> None:
        """Ask every courier to stop: it finishes the email on the wire and releases the rest of its batch."""
        with self._lock:
            self._stopping.set()
        for delivery in self._all:
            delivery.stop()

    def join(self, seconds: float) -> bool:
        """Wait until every extra courier has ended, for *seconds* at most, and return whether they have."""
        end = time.monotonic() + seconds
        for thread in list(self._extra.values()):
            thread.join(max(end - time.monotonic(), 0))
        return not self._extra

    def cut(self) -> None:
        """Cut every SMTP connection; an email on the wire is queued again, unless the server may have accepted it."""
        for delivery in self._all:
            delivery.cut()

    def abandon(self) -> None:
        """Release all claimed emails; called when the threads hang and the process must exit."""
        for delivery in self._all:
            delivery.abandon()

    def close(self) -> None:
        """Close the connections; an extra courier that is still delivering closes its own when it ends."""
        for delivery in self._all[1:]:
            delivery.stop()
        self._closed.set()
        self._first.close()

    def beat(self, doing: str, started: float) -> None:
        """Record in the database that this worker is alive, and what it is *doing*; *started* is ``time.monotonic()`` then."""
        self._first.beat(doing, started)

    def leave(self) -> None:
        """Record in the database that this worker has ended."""
        self._first.leave()

    def on_idle(self, *, disconnect: bool = False) -> None:
        """Flush pending commits to disk and close an idle SMTP connection.

        With *disconnect* the database connection returns to its pool.
        """
        self._first.on_idle(disconnect=disconnect)

    @property
    def _all(self) -> list[Delivery]:
        return [self._first, *self._extra]

    def _on_backlog(self) -> None:
        if not self._has_rung:
            self._has_rung = True
            self._ring()
        if any(delivery.is_slow for delivery in self._all):
            self._add_couriers(self._most)

    def _add_couriers(self, count: int) -> None:
        """Start extra couriers until there are *count* couriers in all, or as many as are allowed."""
        with self._lock:
            while len(self._extra) + 1 < min(count, self._most) and self._may_add():
                delivery = self._make(self._on_backlog, is_extra=True)
                delivery.size = self._first.size
                self._extra[delivery] = thread = threading.Thread(target=self._run, args=(delivery,), name="courier", daemon=True)
                thread.start()

    def _may_add(self) -> bool:
        return time.monotonic() >= self._paused_until and not self._stopping.is_set() and not self._closed.is_set()

    def _watch(self) -> None:
        """Look after couriers that hang, until ``close`` and the end of the last courier."""
        while not self._closed.wait(WATCH_EVERY) or self._extra:
            if self._closed.is_set():
                time.sleep(WATCH_EVERY)
            couriers = self._all
            hung = [delivery for delivery in couriers if delivery.progress.is_hung]
            if len(hung) == len(couriers):
                self._add_couriers(len(couriers) + 1)
            for delivery in hung:
                delivery.write_off()

    def _run(self, delivery: Delivery) -> None:
        try:
            self._deliver(delivery)
        except sa.exc.SQLAlchemyError as error:
            self._pause(PAUSE_AFTER_ERROR)
            log.warning("an extra SMTP connection is closed, because the database cannot be used: %s", type(error).__name__)
        except Exception:
            self._pause(PAUSE_AFTER_ERROR)
            log.exception("an extra SMTP connection is closed after an unexpected error")
        with suppress(Exception):  # its emails are released, or their lease expires
            delivery.close()
        if delivery.is_refused:
            # While the first courier cannot connect either, the reason is not the number of connections.
            self._pause(PAUSE_AFTER_ERROR if self._first.is_connecting else PAUSE_AFTER_REFUSAL)
        with self._lock:
            del self._extra[delivery]

    def _deliver(self, delivery: Delivery) -> None:
        """Deliver what is due, and stand in for the first courier as long as that one hangs."""
        seconds = self._end - time.monotonic()
        while True:
            settled = delivery.run(seconds)
            with self._lock:
                self._settled += settled
            if not self._first.progress.is_hung or delivery.is_refused or self._closed.is_set():
                return
            if self._stopping.wait(CHECK_DUE_EVERY):
                return
            seconds = LONGEST_STAND_IN

    def _pause(self, seconds: float) -> None:
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)
