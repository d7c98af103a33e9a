"""What arrives at the sink: waits for letters, and checks that each has come exactly once."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from bench.letter import NUMBER
from tests.servers import Process

if TYPE_CHECKING:
    from bench.placement import Placement

POSTFIX_SINK = shutil.which("smtp-sink", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin") or shutil.which("smtp-sink")
# How often the sink's file is looked at, in seconds: a thousandth of what a round takes.
LOOK_EVERY = 0.002
# How long a second copy may take to show itself after the last letter, in seconds.
SETTLE = 0.1


class Miscounted(Exception):  # noqa: N818 - it is a finding, not an error of the program
    """Say that letters were lost or came twice, so that the run's figure does not count."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One letter at the sink: its number, and when it came, by time.monotonic()."""

    number: int
    at: float


class Catch:
    """A sink for one run, which writes to *file*; Postfix' smtp-sink, or ours where arrival times are wanted."""

    def __init__(self, placement: Placement, file: Path, port: int) -> None:
        self._placement, self._file, self.port = placement, file, port
        self._is_ours = True
        self._process: Process | None = None
        self.arrivals: list[Arrival] = []
        self._read = 0

    def start(self, *options: str, ours: bool) -> Self:
        """Start the sink, empty; *options* are our own sink's."""
        self.stop()
        self._file.unlink(missing_ok=True)
        self.arrivals, self._read = [], 0
        self._is_ours = ours or POSTFIX_SINK is None
        address = f"127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "bench.sink", str(self.port), str(self._file), *options]
        if not self._is_ours:
            # Started as root, it wants to know whom to become.
            become = ["-u", "nobody"] if os.geteuid() == 0 else []
            command = [str(POSTFIX_SINK), *become, "-D", str(self._file), address, "512"]
        self._process = Process(command, self._file.with_suffix(".log"))
        self._placement.server(self._process.popen.pid)
        self._wait_for_port()
        return self

    def _wait_for_port(self) -> None:
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(LOOK_EVERY)
        message = f"the sink did not start: {self._process.output if self._process else ''}"
        raise RuntimeError(message)

    def stop(self) -> None:
        """End the sink; what it has caught stays readable."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def look(self) -> None:
        """Take in what has arrived since the last look: our sink says when; otherwise it was now."""
        if not self._file.exists():
            return
        with self._file.open("rb") as file:
            file.seek(self._read)
            data, now = file.read(), time.monotonic()
        # The end of the file may be in the middle of a line.
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        if self._is_ours:
            pairs = (line.split() for line in whole.splitlines())
            self.arrivals += [Arrival(int(number), int(at) / 1e9) for number, at in pairs]
        else:
            self.arrivals += [Arrival(int(number), now) for number in NUMBER.findall(whole)]

    def wait(self, count: int, seconds: float = 60.0) -> None:
        """Return when *count* letters are there; raise Miscounted when time is up."""
        end = time.monotonic() + seconds
        self.look()
        while len(self.arrivals) < count:
            if self._process is None or self._process.popen.poll() is not None:
                message = f"the sink has ended: {self._process.output if self._process else ''}"
                raise RuntimeError(message)
            if time.monotonic() > end:
                message = f"{len(self.arrivals)} of {count} letters came within {seconds:.0f} s"
                raise Miscounted(message)
            time.sleep(LOOK_EVERY)
            self.look()

    def check(self, numbers: Iterable[int], underway: Iterable[int] = ()) -> None:
        """Raise Miscounted unless each of *numbers* has come once, and nothing else but those *underway*, once at most."""
        time.sleep(SETTLE)
        self.look()
        got, wanted = Counter(one.number for one in self.arrivals), set(numbers)
        wanted |= got.keys() & set(underway)
        lost, twice, strange = wanted - got.keys(), [one for one, times in got.items() if times > 1], got.keys() - wanted
        if lost or twice or strange:
            message = f"{len(lost)} letters lost, {len(twice)} came more than once, {len(strange)} from elsewhere"
            raise Miscounted(message)

    @property
    def first(self) -> float:
        """Return when the first letter came."""
        return min(one.at for one in self.arrivals)

    @property
    def last(self) -> float:
        """Return when the last letter came."""
        return max(one.at for one in self.arrivals)

    @property
    def rate(self) -> float:
        """Return letters a second, from the first arrival to the last: what starting up takes is not in it."""
        return (len(self.arrivals) - 1) / (self.last - self.first)
