"""Habits: what this process has learned about one server, shared by all connections to it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from .replies import emails_per_connection

log = logging.getLogger(__name__)

# After so many connections in a row that broke over an envelope behind a message, none is written there any more. A single one
# may be the server's restart.
MOST_BROKEN = 2


class Way(IntEnum):
    """How many commands one write carries to a server that offers PIPELINING."""

    SINGLE = 0
    """One, and then its reply; also for a server that does not offer PIPELINING."""
    GROUP = 1
    """MAIL, RCPT and DATA."""
    BEHIND = 2
    """The same, behind the message before."""


@dataclass
class Habits:
    """What is known about a server beyond its EHLO.

    *way* is the fastest way that it bears, *most_emails* how many emails one connection may carry (None: no limit known), and
    *silent* the addresses of its host that others had to stand in for. Losing a race between threads costs one more lesson.
    """

    way: Way = Way.BEHIND
    most_emails: int | None = None
    silent: set[Any] = field(default_factory=set)
    _broken: int = 0

    def note_greeting(self, text: bytes) -> None:
        """Learn from the greeting which program the server runs."""
        self.most_emails = emails_per_connection(text.decode("ascii", "replace"))

    def note_way(self, way: Way) -> None:
        """Use *way* from now on: the server has taken an envelope this way and refused the same one another way."""
        if way < self.way:
            self.way = way
            log.info("the SMTP server cannot take as many commands at once as it offers; it gets fewer from now on")

    def note_behind(self, *, is_broken: bool) -> None:
        """Learn from the replies to an envelope behind a message: *is_broken* if the connection ended instead."""
        self._broken = self._broken + 1 if is_broken else 0
        if self._broken == MOST_BROKEN:
            self.note_way(Way.GROUP)
