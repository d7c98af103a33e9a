"""Times how long a contender takes to make a letter: ``python -m bench.writing MODULE`` prints milliseconds a letter, by batch."""

from __future__ import annotations

import importlib
import sys
import time
from typing import Any

BATCHES, LETTERS = 10, 100


def main(module: str) -> None:
    """Build letters in batches; the first batch, in which templates are compiled, does not count."""
    peer: Any = importlib.import_module(module)
    for batch in range(BATCHES + 1):
        begun = time.perf_counter()
        for number in range(batch * LETTERS, (batch + 1) * LETTERS):
            peer.build(number)
        if batch:
            print((time.perf_counter() - begun) * 1000 / LETTERS)


if __name__ == "__main__":
    main(sys.argv[1])
