"""What the rounds of one contender gave: the median, the spread, and what did not count."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bench.catch import Miscounted

# Any number; the same in each run, so that two runs can be compared.
SEED = 5


@dataclass
class Samples:
    """The figures of one contender, one for each round that counted, and the faults of those that did not."""

    values: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Return the middle one; not a number where no round counted."""
        return statistics.median(self.values) if self.values else float("nan")

    def percentile(self, percent: float) -> float:
        """Return the value below which *percent* of all are, by the nearest rank."""
        ordered = sorted(self.values)
        return ordered[math.ceil(percent / 100 * len(ordered)) - 1] if ordered else float("nan")

    @property
    def low(self) -> float:
        """Return the smallest."""
        return min(self.values, default=float("nan"))

    @property
    def high(self) -> float:
        """Return the largest."""
        return max(self.values, default=float("nan"))


def take_turns(contenders: Mapping[str, Callable[[], float | list[float]]], rounds: int, unit: str) -> dict[str, Samples]:
    """Let each contender run once a round, in an order that changes from round to round, and print as it goes."""
    order = random.Random(SEED)  # noqa: S311 - no secret
    samples = {name: Samples() for name in contenders}
    for number in range(1, rounds + 1):
        names = list(contenders)
        order.shuffle(names)
        for name in names:
            mine = samples[name]
            try:
                value = contenders[name]()
            except Miscounted as error:
                mine.faults.append(str(error))
                print(f"  {number}/{rounds}  {name}: does not count: {error}", flush=True)
                continue
            values = value if isinstance(value, list) else [value]
            mine.values += values
            print(f"  {number}/{rounds}  {name}: {show(Samples(values).median)} {unit}", flush=True)
    return samples


def show(value: float) -> str:
    """Return *value* with as many digits as mean something."""
    if value != value:  # noqa: PLR0124 - not a number
        return "none"
    if abs(value) >= 100:  # noqa: PLR2004
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"  # noqa: PLR2004
