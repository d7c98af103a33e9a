"""How a worker slows down when the server asks for it: what the server takes, no tries, and urgent mail within seconds."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_outbox import BULK, URGENT, Attempt, Email
from flask_outbox.delivery import delivery
from flask_outbox.delivery.speed.pace import FORGOTTEN_AFTER, LONGEST_PAUSE, Pace
from flask_outbox.store.models import Health, Slowdown
from flask_outbox.testing import SmtpServer, reply
from flasky.extensions import db
from tests.servers import wait_until

if TYPE_CHECKING:
    from flask import Flask

Put, Read = "Callable[..., Email]", "Callable[[], Any]"
THROTTLED = "454 4.7.0 Throttling failure: Maximum sending rate exceeded."


class Limiter:
    """A server that takes *most* emails in any *window* of seconds, by a clock that the test moves."""

    def __init__(self, most: int, window: float) -> None:
        self.most, self.window, self.now = most, window, 0.0
        self.taken: deque[float] = deque()
        self.accepted = self.throttled = 0

    def clock(self) -> float:
        return self.now

    def takes(self) -> bool:
        while self.taken and self.taken[0] <= self.now - self.window:
            self.taken.popleft()
        if len(self.taken) >= self.most:
            self.throttled += 1
            return False
        self.taken.append(self.now)
        self.accepted += 1
        return True


def drain(pace: Pace, limiter: Limiter, seconds: float, *, each: float = 0.002) -> None:
    """Send as *pace* allows, for *seconds*, to a server that needs *each* seconds for an email."""
    end = limiter.now + seconds
    while limiter.now < end:
        wait = pace.wait()
        if wait:
            limiter.now += wait
            continue
        for _ in range(min(pace.size, 200)):
            limiter.now += each
            if not limiter.takes():
                pace.note_throttled(each)
                break
            pace.note_accepted(each)


@pytest.mark.parametrize(("most", "window"), [(14, 1.0), (1, 1.0), (200, 1.0), (20, 60.0), (600, 60.0)])
def test_the_pace_is_near_the_limit_and_the_server_is_rarely_asked_for_more(most: int, window: float) -> None:
    limiter = Limiter(most, window)
    pace = Pace(limiter.clock)
    drain(pace, limiter, 1200)
    assert limiter.accepted >= 0.7 * most / window * 1200
    assert limiter.throttled <= 0.2 * limiter.accepted + 200


def test_two_workers_share_a_limit() -> None:
    limiter = Limiter(14, 1.0)
    paces = [Pace(limiter.clock), Pace(limiter.clock)]
    accepted, order = [0, 0], random.Random(1)
    while limiter.now < 300:
        index = order.randrange(2)
        limiter.now += 0.002
        if paces[index].wait():
            continue
        if limiter.takes():
            accepted[index] += 1
            paces[index].note_accepted(0.002)
        else:
            paces[index].note_throttled(0.002)
    assert sum(accepted) >= 0.75 * 14 * 300
    assert min(accepted) >= 0.2 * sum(accepted)


def test_a_pace_that_nobody_limits_any_more_ends() -> None:
    limiter = Limiter(14, 1.0)
    pace = Pace(limiter.clock)
    assert (pace.wait(), pace.speed) == (0, float("inf"))
    drain(pace, limiter, 30)
    assert pace.is_slowed
    assert 7 < pace.speed < 30
    limiter.most = 10_000
    drain(pace, limiter, FORGOTTEN_AFTER + 1)
    assert not pace.is_slowed
    assert (pace.wait(), pace.speed) == (0, float("inf"))


def test_a_server_that_takes_nothing_is_asked_twice_a_minute_and_recovers_within_a_minute() -> None:
    limiter = Limiter(0, 1.0)
    pace = Pace(limiter.clock)
    drain(pace, limiter, 3600)
    assert pace.is_blocked
    assert limiter.throttled <= 3600 / LONGEST_PAUSE + 20
    limiter.most = 14
    drain(pace, limiter, LONGEST_PAUSE + 60)
    assert pace.speed > 5


def test_the_same_excess_on_several_connections_is_one_request() -> None:
    limiter = Limiter(14, 1.0)
    pace = Pace(limiter.clock)
    drain(pace, limiter, 10)
    limiter.now += 1
    assert pace.note_throttled(0.1)
    speed = pace.speed
    assert not pace.note_throttled(0.1)
    limiter.now += 0.05
    # Sent before the server asked, and accepted after that.
    assert not pace.note_accepted(0.1)
    assert pace.is_blocked
    assert pace.speed == speed


def limit(smtp: SmtpServer, most: int, window: float = 1.0) -> list[float]:
    """Let *smtp* take *most* emails in any *window* of seconds; return the times of its refusals, as it goes on."""
    taken: deque[float] = deque()
    refused: list[float] = []
    lock = threading.Lock()

    def answer(session: Any, usual: str) -> None:
        with lock:
            now = time.monotonic()
            while taken and taken[0] <= now - window:
                taken.popleft()
            takes = len(taken) < most
            (taken if takes else refused).append(now)
        session.say(usual if takes else THROTTLED)

    smtp.on("DOT", answer, always=True)
    return refused


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_throttled_backlog_goes_out_at_the_servers_pace_and_urgent_mail_within_seconds(
    smtp: SmtpServer, put: Put, quiet: Flask, statuses: Read
) -> None:
    refused = limit(smtp, 14)
    for number in range(109):
        put(f"{number}@example.com", priority=BULK)
    thread = quiet.extensions["mail"].make_thread().start()
    smtp.wait_for(40)
    put("urgent@example.com", priority=URGENT)
    asked = time.monotonic()
    wait_until(lambda: any(one.recipient.startswith("urgent") for one in smtp.accepted), 10, "the urgent email")
    assert time.monotonic() - asked < 3
    assert len(smtp.accepted) < 90
    smtp.wait_for(110, 40)
    assert thread.stop()
    assert statuses() == ["sent"] * 110
    times = [one.at for one in smtp.accepted]
    assert 100 / (times[99] - times[0]) >= 0.7 * 14
    assert len(refused) < 20
    assert {email.tries for email in db.session.scalars(sa.select(Email))} == {1}
    outcomes = list(db.session.scalars(sa.select(Attempt.outcome)))
    assert (outcomes.count("sent"), outcomes.count("throttled")) == (110, len(refused))
    assert db.session.scalar(sa.select(Health)) is None
    slowdown = db.session.scalars(sa.select(Slowdown)).one()
    assert 5 < slowdown.speed < 30
    assert slowdown.reply == THROTTLED


def test_one_email_that_the_server_always_throttles_is_soon_deferred_like_any_other(
    smtp: SmtpServer, put: Put, quiet: Flask, deliver: Read, statuses: Read, due: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its pauses pass twenty times as fast.
    quiet.extensions["mail"].pace = Pace(lambda: 20 * time.monotonic())
    monkeypatch.setattr(delivery, "LONGEST_SLEEP", 0.02)

    def answer(session: Any, usual: str) -> None:
        session.say(THROTTLED if session.recipients[-1].startswith("0@") else usual)

    smtp.on("DOT", answer, always=True)
    put("0@example.com", priority=URGENT)
    for number in range(1, 7):
        put(f"{number}@example.com")
        deliver()
        due()
    assert statuses() == ["queued"] + ["sent"] * 6
    # Its sixth one was a try.
    assert db.session.scalars(sa.select(Email)).first().tries == 1  # type: ignore[union-attr] # there is one


def test_health_tells_of_a_slowdown_until_it_is_over(smtp: SmtpServer, put: Put, quiet: Flask, deliver: Read) -> None:
    runner = quiet.test_cli_runner()
    put()
    smtp.on("DOT", reply(THROTTLED))
    assert deliver() == 0
    for speed, words in ((14.2, "14 emails a second"), (0.5, "30 emails a minute"), (0.001, "1 email a minute")):
        with db.engine.begin() as connection:
            connection.execute(sa.update(Slowdown).values(speed=speed))
        result = runner.invoke(args=["mail", "health"])
        assert f"is slowed to about {words}: {THROTTLED}" in result.output
        assert result.exit_code == 0
    with db.engine.begin() as connection:
        connection.execute(sa.update(Slowdown).values(until=Slowdown.since))
    assert "slowed" not in runner.invoke(args=["mail", "health"]).output


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("stage", ["CONNECT", "MAIL"])
def test_too_many_connections_slow_the_worker_down_and_are_no_failure(
    smtp: SmtpServer, put: Put, deliver: Read, statuses: Read, stage: str
) -> None:
    put()
    # A reused connection is replaced once.
    smtp.on(stage, *[reply("421 4.7.0 Too many connections from your host")] * (1 if stage == "CONNECT" else 2))
    assert deliver() == 0
    assert statuses() == ["queued"]
    assert db.session.scalar(sa.select(Health)) is None
    assert "Too many connections" in db.session.scalars(sa.select(Slowdown)).one().reply
    wait_until(lambda: deliver() == 1, 5, "the next try")
    assert statuses() == ["sent"]
    assert db.session.scalars(sa.select(Email)).one().tries == 1
