"""How fast a backlog goes out: 5,000 stored emails and one worker, beside everything else that sends mail from Python."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bench import contender as of
from bench.catch import POSTFIX_SINK
from bench.entry import Entry
from bench.samples import take_turns
from bench.section import Section
from bench.table import Table, times

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.lab import Lab
    from bench.samples import Samples

MAILS, ON_POSTGRES = 5000, 3000
# Who else runs, with how many mails, so that a round takes a second or two, and how many times faster Flask-Outbox has to be.
FIELD = (
    (of.BARE, 3000, 1.0),
    (of.POST_OFFICE, 1000, 3.0),
    (of.MAILER, 300, None),
    (of.CELERY, 400, 6.0),
    (of.DRAMATIQ, 500, 4.0),
    (of.HUEY, 500, 4.0),
    (of.RQ_SIMPLE, 150, 18.0),
    (of.RQ_FORKING, 60, 60.0),
    (of.TUTORIAL, 4, 1000.0),
    (of.THREADS, 300, None),
    (of.IN_REQUEST, 300, None),
)
POSTGRES = ", PostgreSQL"
FLASKY, POST_OFFICE = of.FLASKY.name, of.POST_OFFICE.name


def run(lab: Lab, rounds: int) -> Section:
    """Let all of them drain their backlogs in turns."""
    flasky = Entry(lab, of.FLASKY, "flasky", MAILS)
    postgres = Entry(lab, replace(of.FLASKY, store="postgresql"), "flasky_postgres", ON_POSTGRES)
    post_office = Entry(lab, replace(of.POST_OFFICE, store="postgresql"), "post_office_postgres", 1000)
    runs: dict[str, Callable[[], float]] = {
        FLASKY: flasky.drain,
        FLASKY + POSTGRES: postgres.drain,
        POST_OFFICE + POSTGRES: post_office.drain,
    }
    for number, (contender, mails, _) in enumerate(FIELD):
        runs[contender.name] = Entry(lab, contender, f"field{number}", mails).drain
    samples = take_turns(runs, rounds, "mails/s")
    return Section(
        name="drain",
        title="Draining a backlog",
        tables=[_field(samples), _databases(samples)],
        sentences=[_setting(), _noise()],
        bars=samples,
    )


def _field(samples: dict[str, Samples]) -> Table:
    table = Table("One worker; the backlog is in SQLite or in Redis, as each contender has it", "mails/s", "Flask-Outbox is")
    table.add(FLASKY, samples[FLASKY])
    for contender, _, least in FIELD:
        its = samples[contender.name]
        target = times(least=least) if least else None
        table.add(contender.name, its, samples[FLASKY].median / its.median, target)
    return table


def _databases(samples: dict[str, Samples]) -> Table:
    table = Table("PostgreSQL", "mails/s", "times the other")
    other = samples[POST_OFFICE + POSTGRES]
    table.add(POST_OFFICE + POSTGRES, other)
    table.add(FLASKY + POSTGRES, samples[FLASKY + POSTGRES], samples[FLASKY + POSTGRES].median / other.median, times(least=1.5))
    return table


def _setting() -> str:
    sink = "Postfix' smtp-sink" if POSTFIX_SINK else "the bench's own sink, as there is no smtp-sink here,"
    return (
        f"In each round Flask-Outbox sends {MAILS:,} emails to {sink}; each peer sends as many as take it a second or two. A rate "
        "is measured from the first arrival to the last, without the start of the process. The peers' jobs and rows hold rendered "
        "text and HTML; Flask-Outbox stores the finished message."
    )


def _noise() -> str:
    return "SQLite and PostgreSQL commit to a real disk, which causes most of the variation."
