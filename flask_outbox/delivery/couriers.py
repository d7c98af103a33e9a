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
# How long to open no extra connection after the server has turned one away, in seconds: it allows fewer than we do.
PAUSE_AFTER_TURNED_AWAY = 600.0


class MakeDelivery(Protocol):
    """A function that makes a delivery with connections of its own, for the first courier or for a further one."""

    def __call__(self, on_backlog: Callable[[], None], *, is_further: bool) -> Delivery:
        """Return the delivery, which calls *on_backlog* when a claim was full."""


class Couriers:
    """Delivers in the thread that calls ``run``, and in up to *most* - 1 further threads, each with its own ``Delivery``.

    *ring* is called once a pass when mail is waiting, so that idle workers join in. ``run``, ``on_idle`` and ``close`` belong to
    one thread; ``stop``, ``cut`` and ``abandon`` may be called from another.
    """

    def __init__(self, make: MakeDelivery, most: int, ring: Callable[[], None]) -> None:
        self._make, self._most, self._ring = make, most, ring
        self._first = make(self._on_backlog, is_further=False)
        self._further: dict[Delivery, threading.Thread] = {}
        self._lock = threading.Lock()
        self._end = self._paused_until = 0.0
        self._has_rung = self._is_stopped = False
        self._settled = 0

    def run(self, seconds: float = float("inf")) -> int:
        """Deliver until nothing is due or *seconds* have passed; return how many emails were settled."""
        self._end, self._has_rung, self._settled = time.monotonic() + seconds, False, 0
        count = self._first.run(seconds)
        while threads := list(self._further.values()):
            threads[0].join(CHECK_DUE_EVERY)
            count += self._first.run(self._end - time.monotonic())
        return count + self._settled

    def has_due(self) -> bool:
        """Return whether anything is due."""
        return self._first.has_due()

    def stop(self) -> None:
        """Ask for the end: each courier finishes the email on the wire and gives the others of its batch back."""
        with self._lock:
            self._is_stopped = True
        for delivery in self._all:
            delivery.stop()

    def cut(self) -> None:
        """Break every connection; what is on the wire goes back, unless the server may have it."""
        for delivery in self._all:
            delivery.cut()

    def abandon(self) -> None:
        """Give back what is claimed; called when the delivering threads hang and the process is to end."""
        for delivery in self._all:
            delivery.abandon()

    def close(self) -> None:
        """Close the connections; a further courier that is still delivering closes its own when it ends."""
        for delivery in self._all[1:]:
            delivery.stop()
        self._first.close()

    def on_idle(self, *, give_back: bool = False) -> None:
        """Flush pending commits to disk and drop an idle SMTP connection; with *give_back*, the database connection too."""
        self._first.on_idle(give_back=give_back)

    @property
    def _all(self) -> list[Delivery]:
        return [self._first, *self._further]

    def _on_backlog(self) -> None:
        if not self._has_rung:
            self._has_rung = True
            self._ring()
        if self._first.is_slow and time.monotonic() >= self._paused_until:
            self._add_couriers()

    def _add_couriers(self) -> None:
        with self._lock:
            while len(self._further) + 1 < self._most and not self._is_stopped:
                delivery = self._make(self._on_backlog, is_further=True)
                delivery.size = self._first.size
                self._further[delivery] = thread = threading.Thread(target=self._run, args=(delivery,), name="courier", daemon=True)
                thread.start()

    def _run(self, delivery: Delivery) -> None:
        settled = 0
        try:
            settled = delivery.run(self._end - time.monotonic())
        except sa.exc.SQLAlchemyError as error:
            log.warning("mail: a further connection is given up, because the database is away: %s", type(error).__name__)
        except Exception:
            log.exception("mail: a further connection failed, and is given up")
        with suppress(Exception):  # its emails have gone back, or their lease runs out
            delivery.close()
        if delivery.is_turned_away:
            self._paused_until = time.monotonic() + PAUSE_AFTER_TURNED_AWAY
        with self._lock:
            self._settled += settled
            del self._further[delivery]
