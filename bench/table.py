"""Tables of results: for the terminal and for the report, with a target beside each figure that has one."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.samples import Samples, show

HEAD = ("", "median", "min … max", "ratio", "target", "reached")


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure has to be: at least, or at most, so much."""

    least: float | None = None
    most: float | None = None
    unit: str = ""

    def __str__(self) -> str:
        if self.least is not None:
            return f"≥ {self.least:g}{self.unit}"
        return f"≤ {self.most:.3g}{self.unit}"

    def is_reached(self, value: float) -> bool:
        """Return whether *value* will do; what is not a number never does."""
        return value >= self.least if self.least is not None else value <= (self.most or 0.0)


TIMES = "\N{MULTIPLICATION SIGN}"


def times(*, least: float | None = None, most: float | None = None) -> Target:
    """Return what a ratio has to be."""
    return Target(least, most, TIMES)


@dataclass
class Table:
    """Rows under one title; *unit* is the figures', *value* says which figure of the rounds it is."""

    title: str
    unit: str
    ratio: str = ""
    value: str = "median"
    rows: list[tuple[str, ...]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def add(self, name: str, samples: Samples, ratio: float | None = None, target: Target | None = None) -> None:
        """Add a contender whose *ratio* is judged by *target*."""
        self.add_ratio(name, samples.median, samples, ratio, target)

    def add_ratio(self, name: str, value: float, samples: Samples, ratio: float | None, target: Target | None) -> None:
        """Add a contender of whose *samples* it is another *value* than the median that counts."""
        if samples.faults:
            self.faults.append(f"{name}: {len(samples.faults)} rounds do not count: {samples.faults[0]}.")
        shown = "" if ratio is None else f"{show(ratio)}{TIMES}"
        self.rows.append((name, show(value), _spread(samples), shown, str(target or ""), _verdict(ratio, target)))

    def add_samples(self, name: str, samples: Samples, target: Target | None = None) -> None:
        """Add a contender whose median is itself judged by *target*."""
        self.rows.append((name, show(samples.median), _spread(samples), "", str(target or ""), _verdict(samples.median, target)))

    def add_percentile(self, name: str, value: float, samples: Samples, target: Target) -> None:
        """Add a row whose *value*, a percentile of its *samples*, is judged by *target*."""
        self.rows.append((name, show(value), _spread(samples), "", str(target), _verdict(value, target)))

    def add_value(self, name: str, value: float, target: Target | None = None) -> None:
        """Add a single figure that is judged by *target*."""
        self.rows.append((name, show(value), "", "", str(target or ""), _verdict(value, target)))

    @property
    def head(self) -> tuple[str, ...]:
        """Return the titles of the columns."""
        return (HEAD[0], f"{self.value} ({self.unit})" if self.unit else self.value, HEAD[2], self.ratio or HEAD[3], *HEAD[4:])

    def _columns(self) -> list[tuple[str, ...]]:
        used = [index for index in range(len(HEAD)) if index < 2 or any(row[index] for row in self.rows)]  # noqa: PLR2004
        return [tuple(row[index] for index in used) for row in (self.head, *self.rows)]

    def as_text(self) -> str:
        """Return it for a terminal."""
        rows = self._columns()
        widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
        lines = [
            "  ".join(
                cell.ljust(width) if not index else cell.rjust(width)
                for index, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        return "\n".join(["", self.title, *(f"  {line}" for line in lines), *(f"  {fault}" for fault in self.faults)])

    def as_markdown(self) -> str:
        """Return it for the report."""
        head, *rows = self._columns()
        marks = ["---"] + ["---:"] * (len(head) - 1)
        lines = ["| " + " | ".join(row) + " |" for row in (head, tuple(marks), *rows)]
        return "\n".join([f"**{self.title}**", "", *lines, *(f"\n{fault}" for fault in self.faults)])


def _spread(samples: Samples) -> str:
    return f"{show(samples.low)} … {show(samples.high)}" if len(samples.values) > 1 else ""


def _verdict(value: float | None, target: Target | None) -> str:
    if target is None or value is None:
        return ""
    return "yes" if target.is_reached(value) else "NO"
