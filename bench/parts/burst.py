"""How fast mail goes out while it is being written: two web processes, a commit for each mail, and one worker."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bench import contender as of
from bench.entry import Entry
from bench.samples import Samples, take_turns
from bench.section import Section
from bench.table import Table, Target, times

if TYPE_CHECKING:
    from bench.lab import Lab

MAILS, FEWER = 2000, 500
POSTGRES = "Flask-Outbox, PostgreSQL"


class Burst:
    """One contender's bursts, with what else they show: how late the last mail was, and what Redis had to do."""

    def __init__(self, lab: Lab, contender: of.Contender, name: str, mails: int) -> None:
        self._lab, self._mails = lab, mails
        self._entry = Entry(lab, contender, name)
        self.late, self.commands = Samples(), Samples()

    def run(self) -> float:
        """Return mails a second, from the first call to the last arrival."""
        half = self._mails // 2
        with self._entry.producing(range(half), range(half, self._mails)) as producers:
            before = self._count_commands()
            for producer in producers:
                producer.start()
            calls = [call for producer in producers for call in producer.calls()]
            self._entry.catch.wait(self._mails + len(producers))
            self.commands.values.append((self._count_commands() - before) / self._mails)
        last = self._entry.catch.last
        self.late.values.append(last - max(call.returned for call in calls))
        return self._mails / (last - min(call.begun for call in calls))

    def _count_commands(self) -> int:
        return int(self._lab.redis.client.info("stats")["total_commands_processed"])


def run(lab: Lab, rounds: int) -> Section:
    """Let them take turns."""
    bursts = {
        of.FLASKY.name: Burst(lab, of.FLASKY, "flasky", MAILS),
        POSTGRES: Burst(lab, replace(of.FLASKY, store="postgresql"), "flasky_postgres", MAILS // 2),
        of.CELERY.name: Burst(lab, of.CELERY, "celery", FEWER),
        of.HUEY.name: Burst(lab, of.HUEY, "huey", FEWER),
    }
    samples = take_turns({name: burst.run for name, burst in bursts.items()}, rounds, "mails/s")
    flasky = samples[of.FLASKY.name]
    rates = Table("From the first call to the last arrival", "mails/s", "Flask-Outbox is")
    for name, least in ((of.FLASKY.name, None), (POSTGRES, None), (of.CELERY.name, 2.0), (of.HUEY.name, 1.0)):
        target = times(least=least) if least else None
        rates.add(name, samples[name], flasky.median / samples[name].median if target else None, target)
    late, commands = (
        Table(title, unit) for title, unit in (("The last mail arrives after the last commit", "s"), ("Redis commands", "a mail"))
    )
    for name, burst in bursts.items():
        ours = name in {of.FLASKY.name, POSTGRES}
        late.add_samples(name, burst.late, Target(most=1.0, unit=" s") if ours else None)
        commands.add_samples(name, burst.commands, Target(most=12.0) if ours else None)
    sentence = (
        f"Two processes call send_email {MAILS // 2:,} times each, as fast as they can, and commit after each call, while one "
        f"worker runs; with Celery and Huey {FEWER // 2:,} times each. Producers, worker, sink and database share the cores."
    )
    return Section(name="burst", title="A burst", tables=[rates, late, commands], sentences=[sentence])
