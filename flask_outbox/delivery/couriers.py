"""Couriers: opens extra SMTP connections when the server is slow and mail is waiting.

An email to a distant server costs at least one round trip; several connections make several round trips at the same time.
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

# How often the first courier looks for due mail while the others are still delivering, in seconds.
CHECK_DUE_EVERY = 0.05
# How long to open no extra connection after the server has refused one, in seconds: its limit is lower than ours.
PAUSE_AFTER_REFUSAL = 600.0


class MakeDelivery(Protocol):
    """A function that makes a delivery with connections of its own, for the first courier or for an extra one."""

    def __call__(self, on_backlog: Callable[[], None], *, is_extra: bool) -> Delivery:
        """Return the delivery; it calls *on_backlog* after each full claim."""


class Couriers:
    """Delivers in the thread that calls ``run``, and in up to *most* - 1 extra threads, each with its own ``Delivery``.

    A pass calls *ring* once when mail is waiting, so that idle workers join in. ``run``, ``on_idle`` and ``close`` belong to
    one thread; ``stop``, ``cut`` and ``abandon`` may be called from another.
    """

    def __init__(self, make: MakeDelivery, most: int, ring: Callable[[], None]) -> None:
        self._make, self._most, self._ring = make, most, ring
        self._first = make(self._on_backlog, is_extra=False)
        self._extra: dict[Delivery, threading.Thread] = {}
        self._lock = threading.Lock()
        self._end = self._paused_until = 0.0
        self._has_rung = self._is_stopping = False
        self._settled = 0

    def run(self, seconds: float = float("inf")) -> int:
        """Deliver until nothing is due or *seconds* have passed; return how many emails were settled."""
        self._end, self._has_rung, self._settled = time.monotonic() + seconds, False, 0
        count = self._first.run(seconds)
        while threads := list(self._extra.values()):
            threads[0].join(CHECK_DUE_EVERY)
            count += self._first.run(self._end - time.monotonic())
        return count + self._settled

    def has_due(self) -> bool:
        """Return whether anything is due."""
        return self._first.has_due()

    def stop(self) -> None:
        """Ask every courier to stop: it finishes the email on the wire and releases the rest of its batch."""
        with self._lock:
            self._is_stopping = True
        for delivery in self._all:
            delivery.stop()

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
        self._first.close()

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
        if self._first.is_slow and time.monotonic() >= self._paused_until:
            self._add_couriers()

    def _add_couriers(self) -> None:
        with self._lock:
            while len(self._extra) + 1 < self._most and not self._is_stopping:
                delivery = self._make(self._on_backlog, is_extra=True)
                delivery.size = self._first.size
                self._extra[delivery] = thread = threading.Thread(target=self._run, args=(delivery,), name="courier", daemon=True)
                thread.start()

    def _run(self, delivery: Delivery) -> None:
        settled = 0
        try:
            settled = delivery.run(self._end - time.monotonic())
        except sa.exc.SQLAlchemyError as error:
            log.warning("an extra SMTP connection is closed, because the database cannot be used: %s", type(error).__name__)
        except Exception:
            log.exception("an extra SMTP connection is closed after an unexpected error")
        with suppress(Exception):  # its emails are released, or their lease expires
            delivery.close()
        if delivery.is_refused:
            self._paused_until = time.monotonic() + PAUSE_AFTER_REFUSAL
        with self._lock:
            self._settled += settled
            del self._extra[delivery]
