"""One connection to a quick server, several to a slow one, and what a server that allows fewer makes of that."""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_outbox import BULK, URGENT
from flask_outbox.delivery import delivery
from flask_outbox.store.models import Health
from flask_outbox.store.outbox import Outbox
from flask_outbox.testing import SmtpServer, reply, slow
from flasky.extensions import db
from tests.servers import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

pytestmark = pytest.mark.usefixtures("quiet")
Put, Read = "Callable[..., Email]", "Callable[[], Any]"


@pytest.fixture(autouse=True)
def _short_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch is short, so that a test's backlog takes several."""
    monkeypatch.setattr(delivery, "LONGEST_BATCH", 0.3)


def put_many(put: Put, count: int, **options: Any) -> None:
    for number in range(count):
        put(f"{number}@example.com", **options)


def assert_each_once(smtp: SmtpServer, count: int) -> None:
    assert Counter(one.recipient for one in smtp.accepted) == {f"{number}@example.com": 1 for number in range(count)}


def test_a_slow_server_gets_four_connections_and_each_email_once(smtp: SmtpServer, put: Put, deliver: Read, statuses: Read) -> None:
    smtp.on("DOT", slow(0.03), always=True)
    put_many(put, 80)
    begun = time.monotonic()
    assert deliver() == 80
    assert time.monotonic() - begun < 80 * 0.03
    assert statuses() == ["sent"] * 80
    assert_each_once(smtp, 80)
    assert smtp.most_open == 4


def test_a_quick_server_gets_one_connection(smtp: SmtpServer, put: Put, deliver: Read) -> None:
    # Quick, but not as quick as the database.
    smtp.on("DOT", slow(0.01), always=True)
    put_many(put, 80)
    assert deliver() == 80
    assert smtp.connections == 1


def test_a_database_that_is_slower_than_the_server_gets_more_connections_if_it_groups_commits(
    smtp: SmtpServer, put: Put, deliver: Read, statuses: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = Outbox.settle_sent

    def settle_on_a_slow_disk(*arguments: Any) -> bool:
        time.sleep(0.01)
        return settle(*arguments)

    monkeypatch.setattr(Outbox, "settle_sent", settle_on_a_slow_disk)
    put_many(put, 80)
    assert deliver() == 80
    assert statuses() == ["sent"] * 80
    assert_each_once(smtp, 80)
    # Up to four: on a busy machine the mail may be out before the last one is open.
    assert smtp.most_open in ({2, 3, 4} if db.engine.dialect.name == "postgresql" else {1})


@pytest.mark.parametrize("connections", [1, 2])
def test_mail_connections_is_the_most(make_app: Callable[..., Flask], smtp: SmtpServer, put: Put, connections: int) -> None:
    smtp.on("DOT", slow(0.03), always=True)
    put_many(put, 60)
    app = make_app(database_url=db.engine.url.render_as_string(hide_password=False), mail_connections=connections)
    with app.app_context():
        assert app.extensions["mail"].deliver() == 60
    assert smtp.most_open == connections


def test_a_few_emails_open_no_further_connection(smtp: SmtpServer, put: Put, deliver: Read) -> None:
    smtp.on("DOT", slow(0.03), always=True)
    put_many(put, 9)
    assert deliver() == 9
    assert smtp.connections == 1


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        ("CONNECT", "421 4.7.0 too many connections from you"),
        ("MAIL", "421 4.7.0 too many connections from you"),
        ("MAIL", "432 4.3.2 Concurrent connections limit exceeded"),
    ],
)
def test_a_refused_further_connection_is_no_failure_and_is_not_tried_again(
    smtp: SmtpServer, put: Put, quiet: Flask, statuses: Read, stage: str, said: str
) -> None:
    first: list[Any] = []

    def turn_others_away(session: Any, usual: str) -> None:
        sock = session.sock
        if not first:
            first.append(sock)
        session.say(usual if sock is first[0] else said)

    smtp.on("DOT", slow(0.03), always=True)
    smtp.on(stage, turn_others_away, always=True)
    put_many(put, 60)
    couriers = quiet.extensions["mail"].make_couriers()
    assert couriers.run() == 60
    connections = smtp.connections
    assert connections > 1
    assert statuses() == ["sent"] * 60
    assert db.session.scalar(sa.select(Health)) is None
    put_many(put, 40)
    assert couriers.run() == 40
    assert smtp.connections == connections
    couriers.close()


def test_an_urgent_email_overtakes_a_large_sending_to_a_slow_server(smtp: SmtpServer, put: Put, quiet: Flask) -> None:
    smtp.on("DOT", slow(0.1), always=True)
    put_many(put, 60, priority=BULK)
    thread = quiet.extensions["mail"].make_thread().start()
    smtp.wait_for(2)
    put("urgent@example.com", priority=URGENT)
    begun = time.monotonic()
    wait_until(lambda: any(one.recipient == "urgent@example.com" for one in smtp.accepted), 5, "the urgent email")
    assert time.monotonic() - begun < 1
    assert len(smtp.accepted) < 50
    assert thread.stop()


def test_stopping_ends_every_courier_and_gives_everything_back(smtp: SmtpServer, put: Put, quiet: Flask, statuses: Read) -> None:
    smtp.on("DOT", slow(0.05), always=True)
    put_many(put, 150)
    thread = quiet.extensions["mail"].make_thread().start()
    wait_until(lambda: smtp.connections == 4, 10, "four couriers")
    assert thread.stop()
    wait_until(lambda: "sending" not in statuses(), 2, "everything given back")
    assert statuses().count("sent") == len(smtp.accepted) < 150
    assert max(Counter(one.recipient for one in smtp.accepted).values()) == 1


def test_a_server_that_refuses_all_couriers_is_noted_by_the_first(
    smtp: SmtpServer, put: Put, deliver: Read, statuses: Read
) -> None:
    smtp.on("DOT", slow(0.03), always=True)
    put_many(put, 100)
    smtp.on("MAIL", *[slow(0)] * 40)
    smtp.on("MAIL", reply("530 5.7.0 Authentication required"), always=True)
    deliver()
    assert set(statuses()) == {"sent", "queued"}
    assert db.session.scalars(sa.select(Health)).one().ours


def test_a_courier_that_fails_loses_no_email(
    smtp: SmtpServer, put: Put, deliver: Read, statuses: Read, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = delivery.Delivery.run

    def fail(self: delivery.Delivery, seconds: float) -> int:
        if self._is_extra:
            raise sa.exc.OperationalError("SELECT", {}, OSError("away"))
        return run(self, seconds)

    monkeypatch.setattr(delivery.Delivery, "run", fail)
    caplog.set_level(logging.WARNING, "flasky")
    smtp.on("DOT", slow(0.03), always=True)
    put_many(put, 40)
    assert deliver() == 40
    assert statuses() == ["sent"] * 40
    assert "an extra SMTP connection is closed" in caplog.text
