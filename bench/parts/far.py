"""How fast mail goes to a server that is far away: 20 ms each way, with and without PIPELINING."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench import contender as of
from bench.entry import Entry
from bench.samples import Samples, take_turns
from bench.section import Section
from bench.table import Table, Target, times
from tests.servers import Process, free_port

if TYPE_CHECKING:
    from bench.lab import Lab

DELAY = 0.02
MAILS, FEW = 400, 10
MOST_CONNECTIONS = 4
WITHOUT = ("--no-pipelining",)
CONNECTED = of.Contender(
    name="Flask-Mail, one kept connection", worker=(of.PYTHON, "-m", "bench.peers.flaskmail", "connected"), store=""
)


class Far:
    """One contender behind a proxy of its own."""

    def __init__(self, lab: Lab, contender: of.Contender, name: str, mails: int) -> None:
        self._lab, self._port, self._sink_port = lab, free_port(), free_port()
        self._entry = Entry(lab, contender, name, mails, MAIL_PORT=self._port, sink_port=self._sink_port)
        self.connections = Samples()

    def run(self, options: tuple[str, ...] = ()) -> float:
        """Return mails a second."""
        record = Path(self._entry.site.folder / "connections")
        words = (str(self._port), str(self._sink_port), "--delay", str(DELAY), "--record", str(record))
        proxy = Process([sys.executable, "-m", "bench.proxy", *words], self._entry.site.folder / "proxy.log")
        self._lab.placement.server(proxy.popen.pid)
        try:
            rate = self._entry.drain(ours=True, options=options)
        finally:
            proxy.kill()
        self.connections.values.append(int(record.read_text().split()[0]))
        return rate


def run(lab: Lab, rounds: int) -> Section:
    """Let them take turns, with PIPELINING announced and without."""
    flasky, other = Far(lab, of.FLASKY, "flasky", MAILS), Far(lab, CONNECTED, "connected", FEW)
    names = ours, its, ours_without, its_without = [
        f"{name}{how}" for how in ("", ", no PIPELINING") for name in (of.FLASKY.name, CONNECTED.name)
    ]
    runs = (flasky.run, other.run, partial(flasky.run, WITHOUT), partial(other.run, WITHOUT))
    contenders = dict(zip(names, runs, strict=True))
    samples = take_turns({name: contenders[name] for name in (ours, its)}, rounds, "mails/s")
    samples |= take_turns({name: contenders[name] for name in (ours_without, its_without)}, 1, "mails/s")
    rates = Table("One worker, a server 20 ms away in each direction", "mails/s", "Flask-Outbox is")
    rates.add(ours, samples[ours])
    rates.add(its, samples[its], samples[ours].median / samples[its].median, times(least=8.0))
    rates.add(ours_without, samples[ours_without])
    rates.add(its_without, samples[its_without], samples[ours_without].median / samples[its_without].median)
    connections = Table("Connections open at once", "", value="at most")
    connections.add_value(of.FLASKY.name, flasky.connections.high, Target(most=MOST_CONNECTIONS))
    sentence = (
        f"A proxy on loopback delays every packet by {DELAY * 1000:.0f} ms in each direction. Flask-Outbox sends {MAILS} emails a "
        f"round, Flask-Mail {FEW}. The case without PIPELINING is measured once."
    )
    return Section(name="far", title="A server far away", tables=[rates, connections], sentences=[sentence])
