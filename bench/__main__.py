"""``python -m bench [PART ...]``: runs the parts in turn, prints what they find, and writes docs/benchmarks.md."""

from __future__ import annotations

import argparse
import importlib
import time

from bench import report
from bench.lab import Lab
from bench.placement import Placement

PARTS = ("drain", "workers", "burst", "inbox", "form", "far", "compose", "many", "cost", "desk")
ROUNDS = 5


def run(name: str, rounds: int, placement: Placement) -> None:
    """Run one part on servers of its own, print what it finds, and put it into the report."""
    begun = time.monotonic()
    print(f"\n{name}", flush=True)
    with Lab(placement) as lab:
        section = importlib.import_module(f"bench.parts.{name}").run(lab, rounds)
    report.write(section, str(placement), rounds, PARTS)
    print(section.as_text())
    print(f"  {placement} ({time.monotonic() - begun:.0f} s)", flush=True)


def main() -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Flask-Outbox beside its peers.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    placement = Placement()
    for name in arguments.parts or PARTS:
        run(name, arguments.rounds, placement)


if __name__ == "__main__":
    main()
