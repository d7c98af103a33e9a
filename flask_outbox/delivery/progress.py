"""Progress: notices from the time of its steps that a delivery hangs, or that it waits more than it works."""

from __future__ import annotations

import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# A delivery that needs longer than this for one step, in seconds, hangs: other connections do its work meanwhile. Some servers
# always need as long to accept an email; then each connection claims only one email at a time.
HANGS_AFTER = 0.5
# A server that needs so many seconds for each of so many emails in a row is distant or busy.
SLOW_SECONDS, SLOW_IN_A_ROW = 0.02, 8


class Progress:
    """The step that a delivery is at, as other threads see it: a query, a connect, or one email."""

    def __init__(self) -> None:
        # None while there is nothing to do.
        self._begun: float | None = None
        self._written_off: float | None = None

    @contextmanager
    def working(self) -> Iterator[None]:
        """Begin the first step, and end the last one with the block."""
        self.begin_step()
        try:
            yield
        finally:
            self.rest()

    def begin_step(self) -> None:
        """Begin the next step."""
        self._begun = time.monotonic()

    def rest(self) -> None:
        """End the last step."""
        self._begun = None

    @property
    def step(self) -> float | None:
        """Return what identifies the current step; None without one."""
        return self._begun

    @property
    def is_hung(self) -> bool:
        """Return whether the current step takes too long: the server, the database or the resolver does not answer."""
        begun = self._begun
        return begun is not None and time.monotonic() - begun > HANGS_AFTER

    @property
    def is_written_off(self) -> bool:
        """Return whether ``write_off`` was called for the current step."""
        begun = self._begun
        return begun is not None and begun == self._written_off

    def write_off(self, step: float | None) -> None:
        """Note that nobody waits for *step* to end."""
        self._written_off = step


class Waits:
    """Whether each of the last emails has waited for something that leaves time for other connections.

    That is a server that needs at least SLOW_SECONDS; or, if the database *groups_commits* of several connections into one write
    to the disk, a database that takes longer than the server.
    """

    def __init__(self, *, groups_commits: bool) -> None:
        self._groups_commits = groups_commits
        self._last: deque[bool] = deque(maxlen=SLOW_IN_A_ROW)

    def note(self, transmission: float, settling: float) -> None:
        """Count an email whose *transmission* and *settling* took so many seconds."""
        self._last.append(transmission >= SLOW_SECONDS or (self._groups_commits and settling > transmission))

    @property
    def are_long(self) -> bool:
        """Return whether all of the last emails have waited."""
        return len(self._last) == SLOW_IN_A_ROW and all(self._last)
