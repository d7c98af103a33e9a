"""Which process runs on which core: servers on the last one, a contender of one process on the first."""

from __future__ import annotations

import os
from contextlib import suppress

import psutil


class Placement:
    """Pins processes where this system can, and says in one sentence what it did."""

    def __init__(self) -> None:
        self._all = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self._can_pin = len(self._all) > 1
        # This process only looks on, and must not look on from a contender's core.
        self.server(os.getpid())

    def __str__(self) -> str:
        if not self._can_pin:
            return "Nothing could be pinned to a core here, so that the figures scatter more than they need to."
        return (
            f"Sink, Redis and the measuring process were pinned to core {self._all[-1]}, contenders of one process to "
            f"core {self._all[0]}; contenders of several processes and PostgreSQL could use all {len(self._all)} cores."
        )

    def server(self, pid: int) -> None:
        """Put a server, and what it has started, on the last core."""
        self._pin(pid, self._all[-1:])

    def single(self, pid: int) -> None:
        """Put a contender of one process on the first core."""
        self._pin(pid, self._all[:1])

    def several(self, pid: int) -> None:
        """Let a contender of several processes use every core."""
        self._pin(pid, self._all)

    def _pin(self, pid: int, cores: list[int]) -> None:
        if not self._can_pin:
            return
        for one in (pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))):
            # PostgreSQL has helpers that come and go.
            with suppress(ProcessLookupError):
                os.sched_setaffinity(one, cores)
