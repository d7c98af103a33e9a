"""What a very large sending costs: memory, time, and an urgent mail meanwhile; and a claim beside a million finished rows."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import psutil
import sqlalchemy as sa

from bench import contender as of
from bench import letter, rows
from bench.entry import WARM, Entry, Producer
from bench.lab import wait_for_end
from bench.samples import Samples, take_turns
from bench.section import Section
from bench.table import Table, Target, times

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.lab import Lab
    from tests.servers import Process

PEOPLE = 100_000
MEGABYTE = 1_000_000
URGENT = range(500_000, 500_010)
EVERY = 1.0
# How long an urgent mail may still be on its way when the last line is stored, in seconds.
SETTLE = 2.0
FINISHED, WAITING, CLAIMS = 1_000_000, 400, 20


def run(lab: Lab, rounds: int) -> Section:
    """Send to many once; claim in turns."""
    sentence = (
        f"The mail merge for {PEOPLE:,} people runs once, until the last email is stored, while one worker delivers. A claim takes "
        f"200 of {WAITING} due emails and releases them again, {CLAIMS} times in each round."
    )
    return Section(name="many", title="A very large sending", tables=[_send_many(lab), _claims(lab, rounds)], sentences=[sentence])


def _write_sheet(path: Path) -> None:
    with path.open("w") as file:
        file.write("email,name,number,home\n")
        for number in range(PEOPLE):
            file.write(f"{letter.recipient(number)},{letter.context(number)['name']},{number:07},{letter.HOME}\n")


def _send_many(lab: Lab) -> Table:
    entry = Entry(lab, of.FLASKY, "many", FLASK_APP="bench.peers.flasky")
    sheet = entry.site.folder / "people.csv"
    _write_sheet(sheet)
    words = (letter.TEMPLATE, str(sheet), "-s", "Somebody new: {{ number }}")
    entry.catch.start(ours=True)
    with entry.working():
        producer = Producer(entry, URGENT, EVERY, "bench.peers.urgent")
        producer.wait_until_ready()
        begun = time.monotonic()
        sending = lab.run(entry.site, "sending", "flask", "mail", "send-many", *words, alone=False)
        producer.start()
        peak = _watch(sending)
        seconds = time.monotonic() - begun
        entry.catch.look()
        sent = len(entry.catch.arrivals)
        print(f"  stored in {seconds:.0f} s", flush=True)
        calls = {call.number: call for call in producer.calls()}
        time.sleep(SETTLE)
        entry.catch.check([*URGENT, WARM + URGENT.start], underway=range(PEOPLE))
    entry.catch.stop()
    late = Samples([one.at - calls[one.number].returned for one in entry.catch.arrivals if one.number in calls])
    table = Table(f"flask mail send-many to {PEOPLE:,} people", "", value="measured")
    table.add_value("peak memory of the command (MB)", peak / MEGABYTE, Target(most=150.0, unit=" MB"))
    table.add_value("seconds until the last is stored", seconds)
    table.add_value("of them arrived by then", sent)
    table.add_value("the slowest of ten urgent mails sent meanwhile (s)", late.high, Target(most=2.0, unit=" s"))
    return table


def _watch(process: Process) -> float:
    """Return how many bytes *process* had resident at most; Linux keeps the peak itself."""
    peak = 0.0
    while process.popen.poll() is None:
        try:
            peak = max(peak, psutil.Process(process.popen.pid).memory_info().rss)
        except psutil.NoSuchProcess:
            break
        time.sleep(0.02)
    wait_for_end(process)
    return peak


def _claim(lab: Lab, entry: Entry) -> list[float]:
    log = entry.site.folder / "claiming.log"
    log.unlink(missing_ok=True)
    process = lab.run(entry.site, "claiming", of.PYTHON, "-m", "bench.claiming", str(CLAIMS), alone=True)
    wait_for_end(process)
    return [float(line) for line in process.output.split()]


def _claims(lab: Lab, rounds: int) -> Table:
    runs: dict[str, Callable[[], list[float]]] = {}
    pairs = []
    for store in ("sqlite", "postgresql"):
        contender = replace(of.FLASKY, store=store)
        few, many = (Entry(lab, contender, f"{store}_{size}", WAITING) for size in ("few", "many"))
        for entry in (few, many):
            entry.restore()
        engine = sa.create_engine(many.site.env["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://"))
        rows.finish(engine, FINISHED)
        engine.dispose()
        names = f"{store}, no finished emails", f"{store}, {FINISHED:,} of them"
        pairs.append(names)
        runs |= {name: partial(_claim, lab, entry) for name, entry in zip(names, (few, many), strict=True)}
    samples = take_turns(runs, rounds, "ms")
    table = Table("A claim of 200 mails", "ms", "times the claim without")
    for few_name, many_name in pairs:
        table.add(few_name, samples[few_name])
        ratio = samples[many_name].median / samples[few_name].median
        table.add(many_name, samples[many_name], ratio, times(most=1.5))
    return table
