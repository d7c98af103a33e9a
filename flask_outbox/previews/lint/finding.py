"""What lint says of a mail: ``Finding``, and the three levels of it."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Level(enum.StrEnum):
    """An error has to be corrected. A warning is worth a look. A note names what a mail looks plainer without, in some clients."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One finding: *rule* is its name, and *half* is subject, text or html, or mail for all of it.

    *line* is the line in the rendered half. *what* says what is wrong, *remedy* what to do, and *source* is a URL that explains it.
    """

    level: Level
    rule: str
    half: str
    line: int | None
    what: str
    remedy: str
    source: str = ""

    @property
    def where(self) -> str:
        """Return the half and the line, such as "html, line 3"."""
        return self.half if self.line is None else f"{self.half}, line {self.line}"
