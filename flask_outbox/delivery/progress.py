"""Progress: notices that a delivery hangs, because one of its steps takes too long."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# A delivery that needs longer than this for one step, in seconds, hangs: other connections do its work meanwhile. Some servers
# always need as long to accept an email; then each connection claims only one email at a time.
HANGS_AFTER = 0.5


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
