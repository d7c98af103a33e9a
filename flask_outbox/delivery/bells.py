"""The bells: what is rung after a commit, so that due mail goes out at once instead of with the next sweep.

A bell says of itself how it behaves. The one that wakes an RQ worker is in ``rq_worker``, because it needs RQ.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from .thread import Deliverer


# How long a job of RQ waits for the thread, in seconds.
JOB_WAITS = 10.0


class Bell:
    """Rings for nobody: mail waits for ``flask mail deliver``, or for a task of the host's own. The base of the others."""

    # Whether ring() delivers before it returns.
    is_inline: ClassVar[bool] = False
    # Whether a thread of this process delivers.
    is_local: ClassVar[bool] = False
    # Whether ringing during a backlog wakes further workers.
    wakes_workers: ClassVar[bool] = False

    def ring(self) -> None:
        """Have due mail delivered soon. Raises nothing: the commit has succeeded by now."""

    def stop(self) -> None:
        """End what ringing has started."""


class CallableBell(Bell):
    """Calls *ring*, such as ``deliver_mail.delay`` of a Celery task."""

    def __init__(self, ring: Callable[[], object]) -> None:
        self._ring = ring

    def ring(self) -> None:
        """Call it."""
        self._ring()


class InlineBell(Bell):
    """Delivers in the caller, before it goes on."""

    is_inline = True

    def __init__(self, deliver: Callable[[], Any]) -> None:
        self._deliver = deliver

    def ring(self) -> None:
        """Deliver what is due, now."""
        self._deliver()


class ThreadBell(Bell):
    """Wakes a background thread of this process; the first ring starts it, so that a fork comes first."""

    is_local = True

    def __init__(self, make_deliverer: Callable[[], Deliverer]) -> None:
        self._make_deliverer = make_deliverer
        self._lock = threading.Lock()
        self._deliverer: Deliverer | None = None

    def ring(self) -> None:
        """Wake the thread, or start it if this process has none."""
        with self._lock:
            if self._deliverer is None or not self._deliverer.is_running:
                self._deliverer = self._make_deliverer().start()
            else:
                self._deliverer.ring()
            deliverer = self._deliverer
        if _is_in_rq_job():
            deliverer.ring_and_wait(JOB_WAITS)
            self.stop()

    def stop(self) -> None:
        """Stop the thread and wait for its end; it gives back what it has claimed."""
        if self._deliverer is not None and self._deliverer.is_running:
            self._deliverer.stop()


def _is_in_rq_job() -> bool:
    """Return whether this process is RQ's child for one job: it leaves with the job, in the middle of whatever a thread does."""
    rq = sys.modules.get("rq")
    return rq is not None and rq.get_current_job() is not None
