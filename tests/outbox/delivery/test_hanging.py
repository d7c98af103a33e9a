"""A courier that hangs, at the server or in the database, holds up nothing that can go out another way."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_outbox import BULK, URGENT
from flask_outbox.delivery import delivery, thread
from flasky.extensions import db
from tests.outbox.conftest import Bell
from tests.servers import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask

    from flask_outbox.testing import SmtpServer

pytestmark = pytest.mark.usefixtures("quiet")
postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
Put, Read = "Callable[..., Email]", "Callable[[], Any]"


class Hang:
    """An answer that keeps the connections of these numbers (from 1) waiting until ``end``; the others get theirs at once."""

    def __init__(self, smtp: SmtpServer, *numbers: int, seconds: float = 0.0) -> None:
        self._smtp, self._numbers, self._seconds = smtp, numbers, seconds
        self._seen: list[Any] = []
        self._ended = threading.Event()
        self.waiting = 0

    def __call__(self, session: Any, usual: str) -> None:
        if session not in self._seen:
            self._seen.append(session)
        if self._seen.index(session) + 1 in self._numbers and not self._ended.is_set():
            self.waiting += 1
            while not self._ended.is_set() and not session.wait(0.02):
                pass
        session.wait(self._seconds)
        session.say(usual)

    def end(self) -> None:
        self._ended.set()


@pytest.fixture
def hang(smtp: SmtpServer) -> Iterator[Callable[..., Hang]]:
    """A function that lets some connections hang at a stage."""
    made: list[Hang] = []

    def make(stage: str, *numbers: int, seconds: float = 0.0) -> Hang:
        made.append(Hang(smtp, *numbers, seconds=seconds))
        smtp.on(stage, made[-1], always=True)
        return made[-1]

    yield make
    for one in made:
        one.end()


@pytest.fixture
def start(make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """A function that starts a delivery thread with so many connections, whose passes are short and whose bell is silent."""
    monkeypatch.setattr(delivery, "LONGEST_BATCH", 0.3)
    monkeypatch.setattr(thread, "LONGEST_PASS", 1.0)
    monkeypatch.setattr(thread, "SWEEP_EVERY", 0.3)
    started: list[Any] = []

    def make(connections: int) -> Any:
        app = make_app(database_url=db.engine.url.render_as_string(hide_password=False), mail_connections=connections)
        app.extensions["mail"].bell = Bell()
        started.append(app.extensions["mail"].make_thread().start())
        return started[-1]

    yield make
    for one in started:
        one.stop()


def is_accepted(smtp: SmtpServer, recipient: str) -> bool:
    return any(one.recipient == recipient for one in smtp.accepted)


def assert_nothing_twice(smtp: SmtpServer) -> None:
    assert set(Counter(one.recipient for one in smtp.accepted).values()) == {1}


def test_an_extra_courier_that_hangs_holds_up_nothing(
    smtp: SmtpServer, put: Put, start: Any, hang: Any, statuses: Read, outcomes: Read
) -> None:
    second = hang("DOT", 2, seconds=0.03)
    for number in range(60):
        put(f"{number}@example.com", priority=BULK)
    start(2)
    wait_until(lambda: second.waiting, 10, "the second connection")
    # What it has claimed and not begun goes out over the first.
    wait_until(lambda: statuses().count("sent") == 59, 20, "all but one")
    time.sleep(1.5)  # longer than a pass
    put("urgent@example.com", priority=URGENT)
    wait_until(lambda: is_accepted(smtp, "urgent@example.com"), 2, "the urgent email")
    # The urgent email is accepted a moment before that is recorded.
    wait_until(lambda: statuses().count("sending") == 1, 10, "only the one that hangs")
    second.end()
    wait_until(lambda: statuses() == ["sent"] * 61, 10, "the one that hung")
    assert_nothing_twice(smtp)
    assert outcomes() == [("sent", 250)] * 61


@pytest.mark.parametrize("stage", ["CONNECT", "RCPT", "DOT"])
def test_another_connection_takes_over_from_a_first_one_that_hangs(
    smtp: SmtpServer, put: Put, start: Any, hang: Any, statuses: Read, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = hang(stage, 1)
    put("first@example.com")
    put("second@example.com")
    start(2)
    wait_until(lambda: first.waiting, 10, "the first connection")
    wait_until(lambda: is_accepted(smtp, "second@example.com"), 2, "the second email")
    put("urgent@example.com", priority=URGENT)
    wait_until(lambda: is_accepted(smtp, "urgent@example.com"), 2, "the urgent email")
    first.end()
    wait_until(lambda: statuses() == ["sent"] * 3, 10, "the first email")
    assert_nothing_twice(smtp)


def test_with_one_connection_the_emails_that_wait_behind_a_hung_one_are_left_to_other_workers(
    smtp: SmtpServer, put: Put, start: Any, hang: Any, statuses: Read, deliver: Read
) -> None:
    first = hang("DOT", 1)
    for number in range(3):
        put(f"{number}@example.com")
    start(1)
    wait_until(lambda: first.waiting, 10, "the first connection")
    wait_until(lambda: statuses() == ["sending", "queued", "queued"], 5, "the release")
    assert deliver() == 2
    first.end()
    wait_until(lambda: statuses() == ["sent"] * 3, 10, "the first email")
    assert_nothing_twice(smtp)


@postgresql
def test_a_courier_that_hangs_in_the_database_holds_up_nothing(
    smtp: SmtpServer, put: Put, start: Any, statuses: Read, outcomes: Read
) -> None:
    locked, engine = db.engine.connect(), db.engine

    def lock(session: Any, usual: str) -> None:
        locked.execute(sa.text("SELECT 1 FROM mail_email WHERE recipient = '0@example.com' FOR UPDATE"))
        session.say(usual)

    smtp.on("DOT", lock)
    for number in range(3):
        put(f"{number}@example.com")
    start(2)
    wait_until(lambda: statuses() == ["sending", "sent", "sent"], 10, "the others")
    put("urgent@example.com", priority=URGENT)
    wait_until(lambda: is_accepted(smtp, "urgent@example.com"), 2, "the urgent email")
    assert engine is db.engine
    locked.rollback()
    locked.close()
    wait_until(lambda: statuses() == ["sent"] * 4, 10, "the locked one")
    assert_nothing_twice(smtp)
    assert outcomes() == [("sent", 250)] * 4


def test_a_delivery_in_the_foreground_waits_for_a_courier_that_hangs(
    smtp: SmtpServer, put: Put, deliver: Read, hang: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "LONGEST_BATCH", 0.3)
    second = hang("DOT", 2, seconds=0.03)
    for number in range(40):
        put(f"{number}@example.com")
    threading.Timer(2.5, second.end).start()
    assert deliver() == 40
    assert second.waiting
    assert_nothing_twice(smtp)


def test_stopping_cuts_an_extra_courier_that_hangs_and_releases_what_it_may_release(
    smtp: SmtpServer, put: Put, start: Any, hang: Any, statuses: Read, outcomes: Read
) -> None:
    second = hang("DOT", 2, seconds=0.03)
    for number in range(60):
        put(f"{number}@example.com")
    one = start(2)
    wait_until(lambda: second.waiting, 10, "the second connection")
    begun = time.monotonic()
    assert one.stop()
    assert time.monotonic() - begun < 4
    assert "sending" not in statuses()
    # The server may have accepted it.
    assert outcomes().count(("uncertain", None)) == 1
    assert statuses().count("sent") == len(smtp.accepted) < 60
