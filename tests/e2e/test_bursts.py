"""A burst of single commits, with a real worker and a real Redis: each email at once, and few words with Redis."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from flasky.mail import Message, enqueue
from tests.servers import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask

    from flask_outbox.testing import SmtpServer
    from tests.servers import RedisServer, Site

COUNT = 150


@pytest.fixture
def busy(
    make_app: Callable[..., Flask], site: Callable[..., Site], smtp: SmtpServer, database_url: str, own_redis: RedisServer
) -> Iterator[Flask]:
    """An app over each database, beside a worker that waits for its bell."""
    app = make_app(database_url=database_url, redis_url=own_redis.url, flasky_mail_dispatch="rq")
    house = site(DATABASE_URL=database_url, REDIS_URL=own_redis.url, MAIL_SERVER="127.0.0.1", MAIL_PORT=smtp.port)
    worker = house.worker()
    wait_until(lambda: own_redis.client.scard("rq:workers") == 1, 20, "the worker in Redis")
    with app.app_context():
        yield app
    assert worker.stop() == 0


def put(number: int) -> None:
    enqueue(Message("hi", [f"{number}@example.com"], "text", sender="a@example.com"))


def test_a_burst_costs_few_commands_and_the_last_email_comes_at_once(busy: Flask, smtp: SmtpServer, own_redis: RedisServer) -> None:
    before = own_redis.client.info("stats")["total_commands_processed"]
    for number in range(COUNT):
        put(number)
    committed = time.monotonic()
    smtp.wait_for(COUNT, 5)
    assert smtp.accepted[-1].at - committed < 1
    assert (own_redis.client.info("stats")["total_commands_processed"] - before) / COUNT < 12
    assert len({one.recipient for one in smtp.accepted}) == len(smtp.accepted) == COUNT


def test_an_email_into_the_quiet_is_heard_before_rq_has_made_up_its_books(busy: Flask, smtp: SmtpServer) -> None:
    waits = []
    for number in range(5):
        time.sleep(0.4)
        put(number)
        committed = time.monotonic()
        smtp.wait_for(number + 1, 2)
        waits.append(smtp.accepted[-1].at - committed)
    # Without the bell it would be the next sweep, up to three seconds later.
    assert sorted(waits)[2] < 0.5
