"""The operator's desk over a million emails: how fast each page answers, and what ten browsers that watch it cost the delivery."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import sqlalchemy as sa

from bench import contender as of
from bench.desk import EMAILS, Filler
from bench.entry import Entry
from bench.samples import Samples, take_turns
from bench.section import Section
from bench.table import Table, Target, times
from bench.watcher import Watcher
from tests.servers import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.lab import Lab

NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
PAGES = {
    "overview": "/",
    "overview of a week": "/?period=week",
    "outbox": "/outbox/",
    "failed": "/outbox/?q=status:failed",
    "one address": "/outbox/?q=to:recipient500@example.com",
    "one template": "/outbox/?q=template:mail/reset",
    "a word, and not sent": "/outbox/?q=invoice%20-status:sent",
    "a word that nothing has": "/outbox/?q=%22there+is+no+such+subject%22",
    "one email": "/email/500000/",
    "audit": "/audit/",
    "templates": "/templates/",
}
TIMES_EACH, SLOWEST = 40, 150.0
MAILS, WATCHERS, MOST = 6000, 10, 1.05
# Finished and scheduled emails become due, so that the worker has something to deliver among the million.
CHOOSE = "SELECT id FROM mail_email WHERE id > {after} AND status IN ('queued', 'sent') ORDER BY id LIMIT {count}"
MAKE_DUE = """UPDATE mail_email
SET status = 'queued', priority = 10, send_at = created_at, due_since = {now}, tries = 0, finished_at = NULL
WHERE id BETWEEN {first} AND {last} AND status IN ('queued', 'sent')"""
NOW = {"sqlite": "strftime('%Y-%m-%d %H:%M:%f000', 'now')", "postgresql": "now()"}
# Each is one search of an index: asking must not slow what is measured.
HAS_SENT = "SELECT 1 FROM mail_email WHERE id = {first} AND status = 'sent'"
HAS_DUE = "SELECT 1 FROM mail_email WHERE status = 'queued' AND priority = 10 AND send_at <= {now} LIMIT 1"
LOOK_EVERY = 0.02


class Desk:
    """A site with a million emails in *store*, under gunicorn, and an operator who is signed in."""

    def __init__(self, lab: Lab, store: str) -> None:
        self._lab, self._store = lab, store
        secret = {"SECRET_KEY": "a key for the bench alone", "FLASKY_ADMIN": "admin@example.com"}
        self._entry = Entry(lab, replace(of.FLASKY, store=store), f"desk_{store}", **secret)
        self._entry.restore()
        self._engine = sa.create_engine(self._entry.site.env["DATABASE_URL"])
        Filler(self._engine, EMAILS).fill()
        self._cookie = self._entry.site.run("python", "-m", "bench.operator").strip().splitlines()[-1]
        lab.run(self._entry.site, "web", "gunicorn", "wsgi:app", alone=False)
        wait_until(self._entry.site.answers, 20, "the site")

    def watcher(self) -> Watcher:
        """Return a browser at the site."""
        return Watcher(self._entry.site.url, self._cookie)

    def open(self, path: str) -> list[float]:
        """Return how many milliseconds each answer took, the first one included."""
        watcher = self.watcher()
        return [watcher.get(f"/admin/mail{path}")[0] for _ in range(TIMES_EACH)]

    def deliver(self, watchers: int) -> float:
        """Return how many emails a second go out while so many *watchers* look at the desk."""
        first = self._make_due()
        self._entry.catch.start(ours=False)
        watching = [self.watcher() for _ in range(watchers)]
        try:
            for number, one in enumerate(watching):
                one.watch("/admin/mail/" if number % 2 else "/admin/mail/outbox/")
            with self._entry.working():
                wait_until(lambda: self._finds(HAS_SENT.format(first=first)), 60, "the first email")
                begun = time.monotonic()
                wait_until(lambda: not self._finds(HAS_DUE.format(now=NOW[self._store])), 120, "the last email")
                return MAILS / (time.monotonic() - begun)
        finally:
            for one in watching:
                one.stop()
            self._entry.catch.stop()

    def _make_due(self) -> int:
        """Let MAILS emails be due, and return the id of the first."""
        with self._engine.begin() as connection:
            ids = connection.scalars(sa.text(CHOOSE.format(after=EMAILS // 2, count=MAILS))).all()
            connection.execute(sa.text(MAKE_DUE.format(now=NOW[self._store].replace(":", "\\:"), first=ids[0], last=ids[-1])))
        return int(ids[0])

    def _finds(self, query: str) -> bool:
        time.sleep(LOOK_EVERY)
        with self._engine.connect() as connection:
            return connection.scalar(sa.text(query.replace(":", "\\:"))) is not None


def run(lab: Lab, rounds: int) -> Section:
    """Open each page, and let a worker deliver with and without browsers that watch, in turns."""
    tables = []
    for store, name in NAMES.items():
        desk = Desk(lab, store)
        pages: dict[str, Callable[[], list[float]]] = {page: partial(desk.open, path) for page, path in PAGES.items()}
        tables.append(_pages(name, take_turns(pages, 1, "ms")))
        deliveries = {f"{name}, {count} browsers watch": partial(desk.deliver, count) for count in (0, WATCHERS)}
        tables.append(_deliveries(name, take_turns(deliveries, rounds, "mails/s")))
    sentence = (
        f"The outbox holds {EMAILS:,} emails: seven of ten are finished, two scheduled, one has failed. Each page is opened "
        f"{TIMES_EACH} times, the first time included, over a new connection. Then {MAILS:,} of the emails become due, and one "
        "worker delivers them."
    )
    return Section(name="desk", title="The operator's desk", tables=tables, sentences=[sentence])


def _pages(name: str, samples: dict[str, Samples]) -> Table:
    table = Table(f"{name}: a page over {EMAILS:,} emails, 95th percentile", "ms", value="95th percentile")
    for page, its in samples.items():
        slowest = its.percentile(95)
        table.add_percentile(page, slowest, its, Target(most=SLOWEST, unit=" ms"))
    return table


def _deliveries(name: str, samples: dict[str, Samples]) -> Table:
    table = Table(f"{name}: one worker delivers", "mails/s", "alone is")
    alone, watched = samples.values()
    table.add(f"{name}, nobody watches", alone)
    table.add(f"{name}, {WATCHERS} browsers watch", watched, alone.median / watched.median, times(most=MOST))
    return table
