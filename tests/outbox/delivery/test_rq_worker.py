"""The bell: one job for a burst, nothing about an email in Redis, and a bounded moment where Redis is down."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import pytest
from rq import Queue
from rq.serializers import JSONSerializer

from flask_outbox import Message, enqueue
from flask_outbox.delivery import rq_worker as dispatch
from flask_outbox.delivery.redis_client import connect
from flask_outbox.delivery.rq_worker import JOB, RqBell, Worker, deliver_mail

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from redis import Redis

    from flask_outbox.testing import SmtpServer
    from tests.servers import RedisServer


def put(recipient: str = "susan@example.com") -> None:
    enqueue(Message("a subject", [recipient], "text", sender="a@example.com"))


@pytest.fixture
def rung(make_app: Callable[..., Flask], redis_url: str) -> Flask:
    return make_app(redis_url=redis_url, flasky_mail_dispatch="rq")


def test_a_burst_is_one_job_and_the_job_knows_nothing(rung: Flask, redis_server: RedisServer) -> None:
    with rung.app_context():
        for _ in range(20):
            put()
    jobs = Queue("mail", connection=redis_server.client, serializer=JSONSerializer).jobs
    assert [(job.func_name, job.args, job.kwargs, job.description) for job in jobs] == [(JOB, [], {}, "deliver mail")]
    stored = str([redis_server.client.dump(key) for key in redis_server.client.scan_iter()])
    assert "susan" not in stored
    assert "a subject" not in stored


def test_the_job_delivers_in_the_app_it_finds(rung: Flask, smtp: SmtpServer) -> None:
    with rung.app_context():
        put()
        deliver_mail()
    assert len(smtp.accepted) == 1


@pytest.mark.parametrize("how", ["stop", "freeze"])
def test_a_redis_that_is_away_costs_a_bounded_moment_and_a_warning(
    own_redis: RedisServer, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    bell = RqBell(connect(own_redis.url, timeout=0.05), "")
    bell.ring()
    getattr(own_redis, how)()
    begun = time.monotonic()
    for _ in range(50):
        bell.ring()
    assert time.monotonic() - begun < 0.5
    assert caplog.text.count("Redis is down") == 1


def test_a_worker_without_redis_does_not_fill_the_log(
    rung: Flask, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dispatch, "RECONNECT_EVERY", 0.01)
    # The worker of this test shares the process with pytest, and leaves its signals alone.
    monkeypatch.setattr(Worker, "_install_handlers", lambda _: None)
    monkeypatch.setattr(dispatch, "SWITCH_INTERVAL", sys.getswitchinterval())
    own_redis.stop()
    attempts = []

    def redis() -> Redis:
        attempts.append(1)
        if len(attempts) == 5:
            worker.stop()
        return connect(own_redis.url, timeout=0.05)

    worker = Worker(rung.extensions["mail"].make_thread(), redis, "")
    worker.run()
    assert len(attempts) == 5
    assert caplog.text.count("Redis is down") == 1


def test_the_bell_rings_again_once_redis_is_back(own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "BELL_PAUSE", 0.1)
    bell = RqBell(connect(own_redis.url, timeout=0.05), "")
    own_redis.stop()
    bell.ring()
    own_redis.start()
    time.sleep(0.2)
    bell.ring()
    assert own_redis.client.llen("rq:queue:mail") == 1
