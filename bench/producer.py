"""Enqueues letters as a contender's web process would: ``python -m bench.producer MODULE FIRST COUNT``.

With --record PATH it enqueues letter WARM, writes an empty PATH, waits until its ``.go`` exists, and at the end writes for each
letter its number and when its call began and returned, in CLOCK_MONOTONIC nanoseconds.
"""

from __future__ import annotations

import argparse
import importlib
import time
from pathlib import Path
from typing import Any


def fill(peer: Any, numbers: range) -> None:
    """Enqueue a backlog, in the quickest way that the contender has."""
    if hasattr(peer, "fill"):
        peer.fill(numbers)
        return
    for number in numbers:
        peer.enqueue(number)


def enqueue(peer: Any, numbers: range, every: float) -> list[tuple[int, int, int]]:
    """Enqueue one letter every *every* seconds, or without a pause; return number, begin and return of each call."""
    times, due = [], time.monotonic()
    for number in numbers:
        time.sleep(max(due - time.monotonic(), 0.0))
        begun = time.monotonic_ns()
        peer.enqueue(number)
        times.append((number, begun, time.monotonic_ns()))
        due = max(due + every, time.monotonic())
    return times


def wait_for(go: Path) -> None:
    """Return once *go* exists."""
    while not go.exists():
        time.sleep(0.001)


def main() -> None:
    """Load the contender, and enqueue."""
    parser = argparse.ArgumentParser(description="Enqueue letters.")
    parser.add_argument("module")
    parser.add_argument("first", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("--every", type=float, default=0.0)
    parser.add_argument("--record", type=Path)
    parser.add_argument("--warm", type=int, default=0)
    arguments = parser.parse_args()
    peer: Any = importlib.import_module(arguments.module)
    numbers = range(arguments.first, arguments.first + arguments.count)
    record: Path | None = arguments.record
    if record is None:
        fill(peer, numbers)
        return
    # Templates are loaded, and connections made, before it counts.
    peer.enqueue(arguments.warm)
    record.touch()
    wait_for(record.with_suffix(".go"))
    times = enqueue(peer, numbers, arguments.every)
    done = record.with_suffix(".new")
    done.write_text("".join(f"{number} {begun} {ended}\n" for number, begun, ended in times))
    done.replace(record)


if __name__ == "__main__":
    main()
