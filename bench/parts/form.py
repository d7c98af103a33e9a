"""What a visitor waits for: a new name and its email, beside the same without mail, whatever the mail server or Redis does."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from bench import contender as of
from bench import rows
from bench.catch import Miscounted
from bench.entry import Entry
from bench.samples import Samples, take_turns
from bench.section import Section
from bench.table import Table, Target, times
from bench.visitor import Visitor
from tests.servers import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.lab import Lab

POSTS = 100
BACKLOG = 100_000
OFTEN = "1000000 per minute"
# How long a worker gets to start, in seconds.
START = 1.5
MOST_MORE, MOST_WITHOUT_REDIS = 2.0, 300.0
# More than this is not noise between two runs of the same.
NOISE = 1.25
WELL, SLOW, DOWN = "the mail server is well", "it takes a second for each command", "it is down"
FULL, NO_REDIS, ALONE = f"{BACKLOG:,} emails wait", "Redis is down", "no worker runs"


class Side:
    """A site under gunicorn, with or without somebody to write to, and its visitor."""

    def __init__(self, lab: Lab, name: str, admin: str) -> None:
        settings: dict[str, Any] = {"FLASKY_ADMIN": admin, "FLASKY_FORM_LIMIT": OFTEN, "FLASKY_ADMIN_MAIL_LIMIT": OFTEN}
        self.entry = Entry(lab, of.FLASKY, name, **settings)
        self._url = self.entry.site.env["DATABASE_URL"]
        lab.run(self.entry.site, "web", "gunicorn", "wsgi:app", alone=False)
        wait_until(self.entry.site.answers, 20, "the site")
        self.visitor = Visitor(self.entry.site.url)

    def forget(self) -> None:
        """Empty the outbox: what one state has left must not be sent in the next."""
        engine = sa.create_engine(self._url, connect_args={"timeout": 30})
        with engine.begin() as connection:
            for table in ("mail_attempt", "mail_email", "mail_content", "mail_health"):
                connection.execute(sa.text(f"DELETE FROM {table}"))
        engine.dispose()

    def fill(self) -> None:
        """Let a great many emails wait, like the one that is there."""
        self.visitor.come_back()
        self.visitor.post()
        rows.queue(self._url, range(BACKLOG))


class Form:
    """A site with mail and one without, side by side, and whatever goes wrong around them."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._mail, self._full = (Side(lab, name, "admin@example.com") for name in ("mail", "full"))
        self._quiet = Side(lab, "quiet", "")
        self._full.fill()
        self.quiet = {state: Samples() for state in (WELL, ALONE, SLOW, DOWN, FULL, NO_REDIS)}

    def _post(self, side: Side, state: str) -> list[float]:
        """Post to *side* and to the site without mail by turns; return the times of the one, keep those of the other."""
        times = []
        for one in (side, self._quiet):
            one.visitor.come_back()
        for _ in range(POSTS):
            times.append(side.visitor.post())
            self.quiet[state].values.append(self._quiet.visitor.post())
        return times

    def _work(self, state: str) -> list[float]:
        entry = self._mail.entry
        with entry.working():
            time.sleep(START)
            times = self._post(self._mail, state)
            if state == WELL:
                entry.catch.wait(POSTS)
        self._mail.forget()
        return times

    def well(self) -> list[float]:
        """Return the times while the worker sends what is written."""
        catch = self._mail.entry.catch.start(ours=True)
        try:
            times = self._work(WELL)
            catch.look()
            if len(catch.arrivals) != POSTS:
                message = f"{len(catch.arrivals)} mails came of {POSTS}"
                raise Miscounted(message)
        finally:
            catch.stop()
        return times

    def slow(self) -> list[float]:
        """Return the times while the worker waits a second for each reply."""
        catch = self._mail.entry.catch.start("--delay", "1", ours=True)
        try:
            return self._work(SLOW)
        finally:
            catch.stop()

    def down(self) -> list[float]:
        """Return the times while there is no mail server at all."""
        return self._work(DOWN)

    def alone(self) -> list[float]:
        """Return the times while nobody sends what is written: what mail costs the web process itself."""
        times = self._post(self._mail, ALONE)
        self._mail.forget()
        return times

    def full(self) -> list[float]:
        """Return the times while a great many emails wait, and nobody sends them."""
        return self._post(self._full, FULL)

    def without_redis(self) -> list[float]:
        """Return the times while there is no Redis."""
        redis = self._lab.redis
        redis.stop()
        try:
            return self._post(self._mail, NO_REDIS)
        finally:
            redis.start()
            self._lab.placement.server(redis.client.info("server")["process_id"])
            self._mail.forget()


def run(lab: Lab, rounds: int) -> Section:
    """Let every state have its turn."""
    form = Form(lab)
    states: dict[str, Callable[[], list[float]]] = {
        WELL: form.well,
        ALONE: form.alone,
        SLOW: form.slow,
        DOWN: form.down,
        FULL: form.full,
        NO_REDIS: form.without_redis,
    }
    samples = take_turns({name: partial(state) for name, state in states.items()}, rounds, "ms")
    sentence = (
        "gunicorn with two processes of four threads, and SQLite. One client with a kept connection posts to the site with mail "
        f"and to the site without mail in turn, {POSTS} times each in each round; the percentiles are over all rounds. A worker "
        "runs only in the rows that name the mail server."
    )
    return Section(
        name="form",
        title="A form post",
        tables=[_more(samples, form), _whatever(samples), _redis(samples, form)],
        sentences=[sentence],
    )


def _more(samples: dict[str, Samples], form: Form) -> Table:
    table = Table("A new name, with and without its email", "ms")
    for state in (ALONE, WELL):
        how = "while a worker sends" if state is WELL else "while no worker runs"
        table.add_samples(f"without mail, {how}", form.quiet[state])
        table.add_samples(f"with mail, {how}", samples[state])
        more = samples[state].median - form.quiet[state].median
        table.add_value(f"more, {how}", more, Target(most=MOST_MORE, unit=" ms"))
    return table


def _whatever(samples: dict[str, Samples]) -> Table:
    table = Table("With mail, whatever happens to it", "ms", "times the first of the kind")
    for first, *others in ((WELL, SLOW, DOWN), (ALONE, FULL)):
        table.add(first, samples[first])
        for state in others:
            table.add(state, samples[state], samples[state].median / samples[first].median, times(most=NOISE))
    return table


def _redis(samples: dict[str, Samples], form: Form) -> Table:
    table = Table("Redis is down", "ms", value="99th percentile")
    table.add_value("with mail", samples[NO_REDIS].percentile(99), Target(most=MOST_WITHOUT_REDIS, unit=" ms"))
    table.add_value("without mail", form.quiet[NO_REDIS].percentile(99))
    return table
