"""How fast mail may go out: exact, over all workers, and without making urgent mail wait."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from flask_outbox import BULK, URGENT, Message, enqueue
from flask_outbox.delivery.redis_client import connect
from flask_outbox.delivery.speed.rate import Rate
from tests.servers import Site, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest
    from flask import Flask

    from flask_outbox.testing import SmtpServer
    from tests.servers import RedisServer


def test_two_rates_over_one_redis_count_together(redis_url: str) -> None:
    one, other = Rate("3 per minute", connect(redis_url)), Rate("3 per minute", connect(redis_url))
    assert [one.wait(), other.wait(), one.wait()] == [0, 0, 0]
    assert 50 < other.wait() <= 60
    assert 50 < one.wait() <= 60


def test_without_redis_each_worker_counts_for_itself(own_redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    rate = Rate("1 per minute", connect(own_redis.url, timeout=0.5))
    assert rate.wait() == 0
    own_redis.stop()
    assert rate.wait() == 0
    assert rate.wait() > 50
    assert caplog.text.count("Redis is down") == 1


def test_two_workers_together_keep_to_the_rate(
    make_app: Callable[..., Flask], redis_url: str, site: Callable[..., Site], smtp: SmtpServer
) -> None:
    settings = {"REDIS_URL": redis_url, "MAIL_SERVER": "127.0.0.1", "MAIL_PORT": smtp.port, "MAIL_RATE": "10 per second"}
    both = site(**settings)
    with make_app(redis_url=redis_url, flasky_mail_dispatch="rq", database_url=both.env["DATABASE_URL"]).app_context():
        for _ in range(40):
            enqueue(Message("hi", ["bulk@example.com"], "text", sender="a@example.com"), priority=BULK)
        both.worker()
        both.worker()
        smtp.wait_for(15, 15)
        enqueue(Message("hi", ["urgent@example.com"], "text", sender="a@example.com"), priority=URGENT)
        asked = time.monotonic()
        wait_until(lambda: any(one.recipient.startswith("urgent") for one in smtp.accepted), 2, "the urgent email")
        assert time.monotonic() - asked < 1.5
        smtp.wait_for(41, 15)
    times = [one.at for one in smtp.accepted]
    # In no window of one second more than ten; the edge allows for what a message takes from count to arrival.
    assert max(sum(start <= at < start + 0.9 for at in times) for start in times) <= 11
