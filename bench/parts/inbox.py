"""How long one mail takes to the inbox when nothing else happens: from the enqueuing call to the server's 250."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import contender as of
from bench.entry import Entry
from bench.samples import Samples, take_turns
from bench.section import Section
from bench.table import Table, times

if TYPE_CHECKING:
    from bench.lab import Lab

MAILS, EVERY = 30, 0.05
# The tutorial needs half a second for each.
FEW, SELDOM = 3, 0.6
FIELD = (of.FLASKY, of.CELERY, of.DRAMATIQ, of.HUEY, of.RQ_SIMPLE, of.RQ_FORKING, of.TUTORIAL)
MEDIAN = 50
# How much of the peer's time Flask-Outbox may take at most.
TARGETS = {of.CELERY: 1.0, of.RQ_FORKING: 1 / 3, of.TUTORIAL: 1 / 50}


class Inbox:
    """One contender's times, in milliseconds."""

    def __init__(self, lab: Lab, contender: of.Contender, name: str) -> None:
        self._entry = Entry(lab, contender, name)
        self._mails, self._every = (FEW, SELDOM) if contender is of.TUTORIAL else (MAILS, EVERY)
        self.from_call = Samples()

    def run(self) -> list[float]:
        """Return the times from the return of each call; keep those from its begin."""
        with self._entry.producing(range(self._mails), every=self._every) as (producer,):
            producer.start()
            calls = {call.number: call for call in producer.calls()}
        arrivals = [one for one in self._entry.catch.arrivals if one.number in calls]
        self.from_call.values += [(one.at - calls[one.number].begun) * 1000 for one in arrivals]
        return [(one.at - calls[one.number].returned) * 1000 for one in arrivals]


def run(lab: Lab, rounds: int) -> Section:
    """Let them take turns."""
    inboxes = {one: Inbox(lab, one, f"inbox{number}") for number, one in enumerate(FIELD)}
    samples = take_turns({one.name: inbox.run for one, inbox in inboxes.items()}, rounds, "ms")
    judged = {one: samples[one.name] for one in FIELD}
    tables: list[Table] = []
    for title, of_them in (
        ("From the return of the call, by when the mail is committed or enqueued", judged),
        ("From the beginning of the call, rendering and storing included", {one: inboxes[one].from_call for one in FIELD}),
    ):
        tables += [_compare(title, of_them, percent, judged=of_them is judged) for percent in (MEDIAN, 99)]
    sentence = (
        f"{MAILS} emails a round, one every {EVERY * 1000:.0f} ms ({FEW} for the tutorial); the percentiles are over all rounds. "
        "An email has arrived when the sink writes its 250. Other work on the machine affects the 99th percentile most."
    )
    return Section(name="inbox", title="Time to the inbox", tables=tables, sentences=[sentence])


def _compare(title: str, waits: dict[of.Contender, Samples], percent: int, *, judged: bool) -> Table:
    table = Table(title, "ms", "Flask-Outbox takes", value="median" if percent == MEDIAN else f"{percent}th percentile")
    ours = waits[of.FLASKY].percentile(percent)
    for contender, samples in waits.items():
        most = TARGETS.get(contender)
        its = samples.percentile(percent)
        table.add_ratio(
            contender.name,
            its,
            samples,
            None if contender is of.FLASKY else ours / its,
            times(most=most) if most and judged else None,
        )
    return table
