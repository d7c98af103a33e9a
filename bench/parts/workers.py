"""What more workers and more connections bring: a backlog in SQLite and in PostgreSQL, and one, two or four workers."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from bench import contender as of
from bench.entry import Entry
from bench.samples import take_turns
from bench.section import Section
from bench.table import Table, times

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.lab import Lab
    from bench.samples import Samples

# Several workers do not start at the same moment: with so many emails, that is a small part of the time.
MAILS = {"sqlite": 12000, "postgresql": 6000}
NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
WORKERS = {1: "one worker", 2: "two workers", 4: "four workers"}
SINGLE = ", one worker with MAIL_CONNECTIONS=1"
BARE = 3000
# How many times as fast two workers have to be on PostgreSQL as one worker with one connection.
LEAST = 1.6


def run(lab: Lab, rounds: int) -> Section:
    """Let all of them drain the same backlog in turns."""
    runs: dict[str, Callable[[], float]] = {of.BARE.name: Entry(lab, of.BARE, "bare", BARE).drain}
    for store, name in NAMES.items():
        contender = replace(of.FLASKY, store=store)
        entry = Entry(lab, contender, f"workers_{store}", MAILS[store])
        runs |= {f"{name}, {text}": partial(entry.drain, workers) for workers, text in WORKERS.items()}
        runs[name + SINGLE] = Entry(lab, contender, f"single_{store}", MAILS[store], MAIL_CONNECTIONS=1).drain
    samples = take_turns(runs, rounds, "mails/s")
    sentence = (
        f"All workers together drain a backlog of {MAILS['sqlite']:,} emails in SQLite, or {MAILS['postgresql']:,} in PostgreSQL. "
        f"{of.BARE.name} sends {BARE:,} finished messages without any database. On two cores the workers compete with the sink and "
        "with PostgreSQL for the processor."
    )
    tables = [_compare(name, samples) for name in NAMES.values()]
    return Section(name="workers", title="More workers", tables=tables, sentences=[sentence])


def _compare(name: str, samples: dict[str, Samples]) -> Table:
    table = Table(name, "mails/s", "times the first")
    first = samples[name + SINGLE]
    table.add(name + SINGLE, first)
    for number, text in WORKERS.items():
        its = samples[f"{name}, {text}"]
        target = times(least=LEAST) if number == 2 and name == NAMES["postgresql"] else None  # noqa: PLR2004 - two workers
        table.add(f"{name}, {text}", its, its.median / first.median, target)
    table.add(of.BARE.name, samples[of.BARE.name], samples[of.BARE.name].median / first.median)
    return table
