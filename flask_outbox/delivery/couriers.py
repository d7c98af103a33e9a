"""As many connections as the server is worth: one where it answers at once, more where it takes its time and mail waits.

An email over a far server costs a round trip, which nothing can shorten; but several can be under way at a time.
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

# How often the first lane looks for what has become due while the others are still at it, in seconds.
LOOK_EVERY = 0.05
# How long no lane is added after the server has turned one away, in seconds: it allows fewer connections than we do.
MODESTY = 600.0


class MakeDelivery(Protocol):
    """What makes a delivery with connections of its own, for the first lane or for a further one."""

    def __call__(self, on_backlog: Callable[[], None], *, is_further: bool) -> Delivery:
        """Return the delivery; it calls *on_backlog* when a claim has left something over."""


class Lanes:
    """Delivers in the thread that calls ``run``, and in up to *most* - 1 others; none has more than one email on the wire.

    *ring* is called once a pass where mail waits, so that idle workers join in. ``run`` and ``close`` belong to one thread;
    ``stop``, ``cut`` and ``abandon`` may be called from another.
    """

    def __init__(self, make: MakeDelivery, most: int, ring: Callable[[], None]) -> None:
        self._make, self._most, self._ring = make, most, ring
        self._first = make(self._on_backlog, is_further=False)
        self._further: dict[Delivery, threading.Thread] = {}
        self._lock = threading.Lock()
        self._end = self._modest_until = 0.0
        self._has_rung = self._is_stopped = False
        self._settled = 0

    def run(self, seconds: float = float("inf")) -> int:
        """Deliver what is due until nothing is or *seconds* are up; return how many emails were settled."""
        self._end, self._has_rung, self._settled = time.monotonic() + seconds, False, 0
        count = self._first.run(seconds)
        while threads := list(self._further.values()):
            threads[0].join(LOOK_EVERY)
            count += self._first.run(self._end - time.monotonic())
        return count + self._settled

    def has_due(self) -> bool:
        """Return whether anything is due."""
        return self._first.has_due()

    def stop(self) -> None:
        """Ask for the end: what is on the wire is finished, the rest is given back."""
        with self._lock:
            self._is_stopped = True
        for one in self._all:
            one.stop()

    def cut(self) -> None:
        """Break every line; what is on the wire is given back, unless the server may have it."""
        for one in self._all:
            one.cut()

    def abandon(self) -> None:
        """Give back what is claimed, where the delivering threads hang and the process is to end."""
        for one in self._all:
            one.abandon()

    def close(self) -> None:
        """Give back the connections; a further lane that is still at it does so when it ends."""
        for one in self._all[1:]:
            one.stop()
        self._first.close()

    def rest(self, *, give_back: bool = False) -> None:
        """Have everything on the disk, and close a connection to the server that nobody has used for a while."""
        self._first.rest(give_back=give_back)

    @property
    def _all(self) -> list[Delivery]:
        return [self._first, *self._further]

    def _on_backlog(self) -> None:
        if not self._has_rung:
            self._has_rung = True
            self._ring()
        if self._first.is_slow and time.monotonic() >= self._modest_until:
            self._widen()

    def _widen(self) -> None:
        with self._lock:
            while len(self._further) + 1 < self._most and not self._is_stopped:
                delivery = self._make(self._on_backlog, is_further=True)
                delivery.size = self._first.size
                self._further[delivery] = thread = threading.Thread(target=self._run, args=(delivery,), name="lane", daemon=True)
                thread.start()

    def _run(self, delivery: Delivery) -> None:
        settled = 0
        try:
            settled = delivery.run(self._end - time.monotonic())
        except sa.exc.SQLAlchemyError as error:
            log.warning("mail: a further connection is given up, because the database is away: %s", type(error).__name__)
        except Exception:
            log.exception("mail: a further connection stumbled, and is given up")
        with suppress(Exception):  # the emails are back, or their lease will be
            delivery.close()
        if delivery.is_turned_away:
            self._modest_until = time.monotonic() + MODESTY
        with self._lock:
            self._settled += settled
            del self._further[delivery]
