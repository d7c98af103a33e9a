"""How long it takes to make a mail: from two templates to the bytes that are stored or sent."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from bench import contender as of
from bench.entry import Entry
from bench.lab import wait_for_end
from bench.samples import take_turns
from bench.section import Section
from bench.table import Table, Target

if TYPE_CHECKING:
    from bench.lab import Lab

FIELD = {
    "Flask-Outbox: write(compose(…))": "bench.peers.flasky",
    "Flask-Mail: render_template, Message.as_bytes": "bench.peers.flaskmail",
    "the standard library: EmailMessage.as_bytes": "bench.peers.bare",
}
OURS = next(iter(FIELD))
MOST = 0.3


def measure(lab: Lab, entry: Entry, module: str) -> list[float]:
    """Return milliseconds a letter, one figure for each batch."""
    log = entry.site.folder / "writing.log"
    log.unlink(missing_ok=True)
    process = lab.run(entry.site, "writing", of.PYTHON, "-m", "bench.writing", module, alone=True)
    wait_for_end(process)
    return [float(line) for line in process.output.split()]


def run(lab: Lab, rounds: int) -> Section:
    """Let them take turns, each in a process of its own."""
    entry = Entry(lab, replace(of.FLASKY, worker=()), "flasky")
    samples = take_turns({name: partial(measure, lab, entry, module) for name, module in FIELD.items()}, rounds, "ms")
    table = Table("One small two-part mail", "ms", "times Flask-Outbox's")
    for name, one in samples.items():
        if name == OURS:
            table.add_samples(name, one, Target(most=MOST, unit=" ms"))
        else:
            table.add(name, one, one.median / samples[OURS].median)
    sentence = "Batches of 100 mails, ten in each round, all of them taken together; rendering is in it for all three."
    return Section(name="compose", title="Making a mail", tables=[table], sentences=[sentence])
