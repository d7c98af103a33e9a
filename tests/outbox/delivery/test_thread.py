"""The thread that delivers: on the bell, without it, and until it is told to stop."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_outbox import Email, Message, enqueue
from flask_outbox.delivery import thread
from flask_outbox.delivery.couriers import Couriers
from flask_outbox.delivery.delivery import Delivery
from flask_outbox.testing import slow, stall
from flasky.extensions import db
from tests.outbox.conftest import Bell
from tests.servers import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flask import Flask

    from flask_outbox.delivery.thread import DeliveryThread
    from flask_outbox.testing import SmtpServer

TEXT = "text"


def put(count: int = 1, **options: object) -> None:
    for _ in range(count):
        enqueue(Message("hi", ["b@example.com"], TEXT, sender="a@example.com"), **options)  # type: ignore[arg-type]


def statuses() -> list[str]:
    with db.engine.connect() as connection:
        return list(connection.scalars(sa.select(Email.status).order_by(Email.id)))


@pytest.fixture
def threaded(make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    monkeypatch.setattr(thread, "SWEEP_EVERY", 0.2)
    app = make_app(flasky_mail_dispatch="thread")
    with app.app_context():
        yield app
        app.extensions["mail"].bell.stop()


@pytest.fixture
def running(make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch) -> Iterator[DeliveryThread]:
    """A delivery thread that runs, in an app whose own bell wakes nobody."""
    monkeypatch.setattr(thread, "SWEEP_EVERY", 0.2)
    app = make_app()
    app.extensions["mail"].bell = Bell()
    with app.app_context():
        one = app.extensions["mail"].make_thread().start()
        yield one
        one.stop()


def test_the_first_email_starts_the_thread_and_is_sent(threaded: Flask, smtp: SmtpServer) -> None:
    put()
    smtp.wait_for(1)
    wait_until(lambda: statuses() == ["sent"])


def test_the_first_request_sends_what_an_earlier_process_left_behind(make_app: Callable[..., Flask], smtp: SmtpServer) -> None:
    with make_app(mail_port=1).app_context():
        put()
    app = make_app(flasky_mail_dispatch="thread")
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM mail_health"))
    app.test_client().get("/")
    smtp.wait_for(1)
    app.extensions["mail"].bell.stop()


def test_the_sweep_finds_what_no_bell_was_rung_for(running: DeliveryThread, smtp: SmtpServer) -> None:
    put(send_at=datetime.now(UTC) + timedelta(seconds=1.2))
    time.sleep(0.5)
    assert not smtp.accepted
    smtp.wait_for(1, 3)


def test_what_comes_directly_after_a_burst_needs_no_bell(
    running: DeliveryThread, smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread, "SWEEP_EVERY", 60.0)
    monkeypatch.setattr(thread, "POLL_FOR", 2.0)
    time.sleep(0.3)
    put()
    running.ring()
    for count in range(2, 6):
        put()
        if count == 2:
            running.ring()
        smtp.wait_for(count, 1)


def test_a_bell_job_ends_when_nothing_more_comes(
    running: DeliveryThread, smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread, "POLL_FOR", 0.3)
    put(2)
    begun = time.monotonic()
    running.ring_and_wait(10)
    assert 0.3 < time.monotonic() - begun < 5
    assert statuses() == ["sent"] * 2


def test_the_thread_outlives_whatever_happens(
    threaded: Flask, smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run, errors = Delivery.run, [RuntimeError("a bug"), sa.exc.OperationalError("SELECT", {}, OSError("away"))]

    def fail_first(self: Delivery, seconds: float) -> int:
        if errors:
            raise errors.pop()
        return run(self, seconds)

    monkeypatch.setattr(Delivery, "run", fail_first)
    put()
    smtp.wait_for(1)
    assert "the database cannot be used" in caplog.text
    assert "a bug" in caplog.text


def test_stopping_finishes_the_email_on_the_wire_and_gives_back_the_rest(running: DeliveryThread, smtp: SmtpServer) -> None:
    smtp.on("DOT", slow(0.5))
    put(3)
    running.ring()
    wait_until(lambda: "DATA" in smtp.commands)
    assert running.stop()
    assert statuses() == ["sent", "queued", "queued"]


def test_stopping_cuts_a_line_that_hangs_within_four_seconds(running: DeliveryThread, smtp: SmtpServer) -> None:
    smtp.on("RCPT", stall)
    put(3)
    running.ring()
    wait_until(lambda: any(line.startswith("RCPT") for line in smtp.commands))
    begun = time.monotonic()
    assert running.stop()
    assert 2.5 < time.monotonic() - begun < 4
    assert statuses() == ["queued"] * 3


def test_what_a_hanging_thread_holds_is_given_back_all_the_same(
    running: DeliveryThread, smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Delivery, "cut", lambda self: None)
    monkeypatch.setattr(thread, "FINISH_WITHIN", 0.2)
    smtp.on("RCPT", stall)
    put(2)
    running.ring()
    wait_until(lambda: any(line.startswith("RCPT") for line in smtp.commands))
    assert not running.stop()
    assert statuses() == ["queued"] * 2
    monkeypatch.undo()
    assert running.stop()


def test_a_bell_job_waits_for_a_pass_that_begins_after_its_ring(
    running: DeliveryThread, smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_end, may_end, on_idle = threading.Event(), threading.Event(), Couriers.on_idle

    def linger(self: Couriers, *, disconnect: bool = False) -> None:
        at_end.set()
        may_end.wait(10)
        on_idle(self, disconnect=disconnect)

    monkeypatch.setattr(Couriers, "on_idle", linger)
    running.ring()
    assert at_end.wait(10)
    put()
    job = threading.Thread(target=running.ring_and_wait, args=(10,))
    job.start()
    time.sleep(0.1)
    may_end.set()
    job.join(10)
    assert statuses() == ["sent"]


def test_a_bell_that_fails_fails_no_request(make_app: Callable[..., Flask], caplog: pytest.LogCaptureFixture) -> None:
    app = make_app(flasky_mail_dispatch="thread")

    class Broken(Bell):
        def ring(self) -> None:
            message = "can't start new thread"
            raise RuntimeError(message)

    app.extensions["mail"].bell = Broken()
    assert app.test_client().get("/").status_code == 200
    assert "can't start new thread" in caplog.text


# What a burst waits for


def wait_until_idle(make_app: Callable[..., Flask], **settings: object) -> str:
    one = make_app(**settings).extensions["mail"].make_thread().start()
    try:
        return str(one.wait_until_idle(threading.Event()))
    finally:
        one.stop()


def test_a_server_that_is_down_ends_the_wait_with_a_sentence(make_app: Callable[..., Flask]) -> None:
    with make_app(flasky_mail_dispatch="manual").app_context():
        put()
        assert "no email can be sent" in wait_until_idle(make_app, mail_port=1)
        # Another worker has noted it.
        assert "no email can be sent" in wait_until_idle(make_app, mail_port=1)
        assert statuses() == ["queued"]


def test_a_database_that_is_down_ends_the_wait_with_a_sentence(app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread, "SWEEP_EVERY", 0.1)
    state = app.extensions["mail"]
    state.database.engine = sa.create_engine(f"sqlite:///{tmp_path}/missing/test.sqlite3")
    one = state.make_thread().start()
    assert "the database cannot be used: unable to open database file" in one.wait_until_idle(threading.Event())
    one.stop()


def test_a_slow_mail_rate_does_not_end_the_wait(make_app: Callable[..., Flask], smtp: SmtpServer, monkeypatch: Any) -> None:
    monkeypatch.setattr(thread, "LONGEST_PASS", 0.2)
    monkeypatch.setattr(thread, "SWEEP_EVERY", 0.1)
    with make_app(flasky_mail_dispatch="manual").app_context():
        put(3)
        assert wait_until_idle(make_app, mail_rate="1 per second") == ""
        assert statuses() == ["sent"] * 3


def test_an_extra_courier_that_hangs_does_not_end_the_wait(
    make_app: Callable[..., Flask], smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread, "SWEEP_EVERY", 0.2)
    smtp.on("DOT", slow(2))
    with make_app(flasky_mail_dispatch="manual").app_context():
        put(3)
        assert wait_until_idle(make_app, mail_connections=2) == ""
        assert statuses() == ["sent"] * 3


def test_waiting_until_idle_takes_as_many_passes_as_there_is_mail(
    running: DeliveryThread, smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread, "LONGEST_PASS", 0.1)
    smtp.on("DOT", slow(0.1), always=True)
    put(6)
    running.ring()
    wait_until(lambda: smtp.accepted)
    running._is_idle.clear()
    running.wait_until_idle(threading.Event())
    assert statuses() == ["sent"] * 6
