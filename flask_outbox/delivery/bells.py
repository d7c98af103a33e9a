"""The bells: a commit rings one, so that due mail goes out at once instead of with the next sweep.

Each bell declares how it behaves. The bell for RQ workers is in ``rq_worker``, the only module that imports RQ.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from .thread import DeliveryThread


# Longest time for which an RQ job waits for the thread, in seconds.
LONGEST_JOB_WAIT = 10.0


class Bell:
    """The base class. It wakes nobody: mail waits for ``flask mail deliver``, or for a task of the host's own."""

    # Whether ring() delivers before it returns.
    is_inline: ClassVar[bool] = False
    # Whether a thread of this process delivers.
    is_local: ClassVar[bool] = False
    # Whether ringing during a backlog wakes other workers.
    wakes_workers: ClassVar[bool] = False

    def ring(self) -> None:
        """Start the delivery of due mail."""

    def stop(self) -> None:
        """Stop what ringing has started."""


class CallableBell(Bell):
    """Calls *ring*, such as ``deliver_mail.delay`` of a Celery task."""

    def __init__(self, ring: Callable[[], object]) -> None:
        self._ring = ring

    def ring(self) -> None:
        """Call it."""
        self._ring()


class InlineBell(Bell):
    """Delivers in the calling thread, before ``ring`` returns."""

    is_inline = True

    def __init__(self, deliver: Callable[[], Any]) -> None:
        self._deliver = deliver

    def ring(self) -> None:
        """Deliver all due mail."""
        self._deliver()


class ThreadBell(Bell):
    """Wakes a background thread of this process. The first ring starts it, after the server has forked its workers."""

    is_local = True

    def __init__(self, make_thread: Callable[[], DeliveryThread]) -> None:
        self._make_thread = make_thread
        self._lock = threading.Lock()
        self._thread: DeliveryThread | None = None

    def ring(self) -> None:
        """Wake the thread, or start it if this process has none."""
        with self._lock:
            if self._thread is None or not self._thread.is_running:
                self._thread = self._make_thread().start()
            else:
                self._thread.ring()
            thread = self._thread
        if _is_in_rq_job():
            thread.ring_and_wait(LONGEST_JOB_WAIT)
            self.stop()

    def stop(self) -> None:
        """Stop the thread and wait for its end; it releases what it has claimed."""
        if self._thread is not None and self._thread.is_running:
            self._thread.stop()


def _is_in_rq_job() -> bool:
    """Return whether this process is RQ's child for one job, which exits with the job and kills its threads."""
    rq = sys.modules.get("rq")
    return rq is not None and rq.get_current_job() is not None
