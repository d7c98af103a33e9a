"""What a part of the benchmark has found: tables, and the sentences that belong to them."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.samples import Samples
from bench.table import Table


@dataclass
class Section:
    """One part's results; *bars* is what its chart shows, mails a second by contender."""

    name: str
    title: str
    tables: list[Table] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    bars: dict[str, Samples] = field(default_factory=dict)

    def as_text(self) -> str:
        """Return it for a terminal."""
        return "\n".join([*(table.as_text() for table in self.tables), "", *(f"  {one}" for one in self.sentences)])

    def as_markdown(self) -> str:
        """Return it for the report."""
        return "\n\n".join([f"## {self.title}", *(table.as_markdown() for table in self.tables), *self.sentences])
