"""A contender entered for a part: its environment made, its backlog filled once, its processes started for each round."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.backlog import Nothing, PostgresBacklog, RedisBacklog, SqliteBacklog
from bench.contender import PYTHON
from bench.lab import wait_for_end

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.backlog import Backlog
    from bench.contender import Contender
    from bench.lab import Lab
    from tests.servers import Process

# The numbers of letters that only show that a worker is there.
WARM = 9_000_000
LOOK_EVERY = 0.005


@dataclass(frozen=True, slots=True)
class Call:
    """One call that enqueued a letter: when it began and returned, by time.monotonic()."""

    number: int
    begun: float
    returned: float


class Producer:
    """A process that has its app, and waits for the word to enqueue *numbers*, one every *every* seconds."""

    def __init__(self, entry: Entry, numbers: range, every: float = 0.0, module: str = "") -> None:
        name = f"producer{numbers.start}"
        self._record = entry.site.folder / f"{name}.record"
        self._go = self._record.with_suffix(".go")
        self._record.unlink(missing_ok=True)
        self._go.unlink(missing_ok=True)
        words = ("-m", "bench.producer", module or entry.contender.module, str(numbers.start), str(len(numbers)))
        options = ("--every", str(every), "--record", str(self._record), "--warm", str(WARM + numbers.start))
        self._process = entry.lab.run(entry.site, name, PYTHON, *words, *options, alone=False)

    def wait_until_ready(self) -> None:
        """Return when its app is there, and its first letter enqueued, which does not count."""
        while not self._record.exists():
            if self._process.popen.poll() is not None:
                raise RuntimeError(self._process.output[-2000:])
            time.sleep(LOOK_EVERY)

    def start(self) -> None:
        """Give the word."""
        self._go.touch()

    def calls(self, seconds: float = 60.0) -> list[Call]:
        """Return what it has done, once it has."""
        wait_for_end(self._process, seconds)
        lines = (line.split() for line in self._record.read_text().splitlines())
        return [Call(int(number), int(begun) / 1e9, int(returned) / 1e9) for number, begun, returned in lines]


class Entry:
    """*contender* in an environment of its own called *name*, with a backlog of *mails* letters."""

    def __init__(self, lab: Lab, contender: Contender, name: str, mails: int = 0, **settings: Any) -> None:
        self.lab, self.contender, self.mails = lab, contender, mails
        if contender.store == "postgresql":
            lab.sql(f"CREATE DATABASE {name}")
            settings["DATABASE_URL"] = lab.postgres_url(name)
        sink_port = settings.pop("sink_port", 0)
        self.site = lab.site(name, **settings)
        self.catch = lab.catch(self.site, sink_port)
        self._backlog = self._make_backlog(name)
        lab.redis.client.flushall()
        if contender.prepare:
            self.site.run(*contender.prepare)
        if contender.module and mails:
            self.site.run(PYTHON, "-m", "bench.producer", contender.module, "0", str(mails))
        self._backlog.keep()

    def _make_backlog(self, name: str) -> Backlog:
        match self.contender.store:
            case "sqlite":
                return SqliteBacklog(self.site.env["DATABASE_URL"])
            case "postgresql":
                return PostgresBacklog(self.lab, name)
            case "redis":
                return RedisBacklog(self.lab.redis.client)
        return Nothing()

    def restore(self) -> None:
        """Have the backlog as it was, and Redis without anything of others."""
        self.lab.redis.client.flushall()
        self._backlog.restore()

    @property
    def _command(self) -> list[str]:
        filled = {"REDIS": self.site.env["REDIS_URL"], "LOCK": str(self.site.folder / "lock")}
        command = [filled.get(word, word) for word in self.contender.worker]
        return command if self.contender.module else [*command, "0", str(self.mails)]

    @contextmanager
    def working(self, workers: int = 1) -> Iterator[Process]:
        """Have *workers* of its workers run."""
        alone = self.contender.alone and workers == 1
        processes = [self.lab.run(self.site, f"worker{number}", *self._command, alone=alone) for number in range(workers)]
        try:
            yield processes[0]
        finally:
            for process in processes:
                process.kill()

    def drain(self, workers: int = 1, *, ours: bool = False, options: tuple[str, ...] = ()) -> float:
        """Return how many letters a second leave the backlog; *ours* and *options* choose the sink."""
        self.restore()
        self.catch.start(*options, ours=ours)
        try:
            with self.working(workers):
                self.catch.wait(self.mails)
                self.catch.check(range(self.mails))
        finally:
            self.catch.stop()
        return self.catch.rate

    @contextmanager
    def producing(self, *numbers: range, every: float = 0.0) -> Iterator[list[Producer]]:
        """Have a worker run, and a producer for each of *numbers* be ready; the worker has sent a letter of each by then."""
        self.restore()
        self.catch.start(ours=True)
        try:
            producers = [Producer(self, one, every) for one in numbers]
            with self.working():
                for producer in producers:
                    producer.wait_until_ready()
                self.catch.wait(len(producers))
                yield producers
                count = sum(map(len, numbers)) + len(numbers)
                self.catch.wait(count)
                self.catch.check([*(number for one in numbers for number in one), *(WARM + one.start for one in numbers)])
        finally:
            self.catch.stop()
