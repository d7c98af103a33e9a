"""What a worker needs: its memory after 10,000 mails, and after 50,000."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil

from bench import contender as of
from bench import rows
from bench.entry import Entry
from bench.section import Section
from bench.table import Table, Target

if TYPE_CHECKING:
    from bench.lab import Lab

PIECE, PIECES = 10_000, 5
MEGABYTE = 1_000_000
MOST, GROWTH = 80.0, 2.0
# A sweep that finds a piece comes within three seconds; the piece itself takes a few.
PATIENCE = 60.0


def run(lab: Lab, rounds: int) -> Section:
    """Drain piece by piece with one worker, once."""
    entry = Entry(lab, of.FLASKY, "flasky", 1)
    url = entry.site.env["DATABASE_URL"]
    entry.restore()
    entry.catch.start(ours=False)
    resident = []
    with entry.working() as worker:
        entry.catch.wait(1)
        for piece in range(PIECES):
            numbers = range(max(piece * PIECE, 1), (piece + 1) * PIECE)
            rows.queue(url, numbers)
            entry.catch.wait(numbers.stop, PATIENCE)
            resident.append(psutil.Process(worker.popen.pid).memory_info().rss / MEGABYTE)
            print(f"  after {numbers.stop:,} mails: {resident[-1]:.1f} MB", flush=True)
        entry.catch.check(range(PIECE * PIECES))
    entry.catch.stop()
    table = Table("Resident memory of one worker", "MB", value="measured")
    table.add_value(f"after {PIECE:,} mails", resident[0], Target(most=MOST, unit=" MB"))
    table.add_value(f"after {PIECE * PIECES:,} mails", resident[-1])
    table.add_value("growth in between", resident[-1] - resident[0], Target(most=GROWTH, unit=" MB"))
    sentence = f"{PIECE * PIECES:,} emails in {PIECES} parts, once. Python's allocator alone varies by up to {GROWTH:g} MB."
    return Section(name="cost", title="What a worker needs", tables=[table], sentences=[sentence])
