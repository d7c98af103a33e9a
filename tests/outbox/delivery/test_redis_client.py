"""Every way to a Redis: TCP, a Unix socket, and Sentinel with a failover; and a prefix that separates two sites."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from flask_outbox import ConfigurationError, Message, enqueue
from flask_outbox.delivery.redis_client import connect
from flask_outbox.delivery.rq_worker import RqBell
from flask_outbox.delivery.speed.rate import Rate
from tests.servers import Process, RedisServer, free_port, redis_binary, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flask import Flask

    from flask_outbox.testing import SmtpServer
    from tests.servers import Site

QUEUE = "rq:queue:mail"


class Pair:
    """A master, its replica, and a Sentinel that promotes the replica once the master is gone."""

    def __init__(self, folder: Path) -> None:
        (folder / "replica").mkdir()
        self.master, self.replica = RedisServer(folder).start(), RedisServer(folder / "replica").start()
        self.replica.client.replicaof("127.0.0.1", str(self.master.port))
        wait_until(lambda: self.replica.client.info("replication")["master_link_status"] == "up", 20, "the replica")
        port, config = free_port(), folder / "sentinel.conf"
        monitor = f"sentinel monitor main 127.0.0.1 {self.master.port} 1\nsentinel down-after-milliseconds main 300\n"
        config.write_text(f"port {port}\nbind 127.0.0.1\ndir {folder}\n{monitor}sentinel failover-timeout main 2000\n")
        self._sentinel = Process([redis_binary(), str(config), "--sentinel"], folder / "sentinel.log")
        # A first Sentinel that does not answer: the next one is asked.
        self.url = f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{port}/main/0"
        wait_until(self._knows_the_replica, 20, "the Sentinel")

    def _knows_the_replica(self) -> bool:
        port = int(self.url.rpartition(":")[2].partition("/")[0])
        try:
            with Redis(port=port) as sentinel:
                return len(sentinel.execute_command("SENTINEL", "REPLICAS", "main")) == 1
        except RedisConnectionError:
            return False

    def stop(self) -> None:
        self._sentinel.stop()
        self.replica.stop()
        self.master.stop()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    servers = Pair(tmp_path)
    yield servers
    servers.stop()


def test_after_a_failover_bell_worker_and_rate_find_the_new_master(
    pair: Pair, make_app: Callable[..., Flask], site: Callable[..., Site], smtp: SmtpServer
) -> None:
    running = site(REDIS_URL=pair.url, MAIL_SERVER="127.0.0.1", MAIL_PORT=smtp.port)
    running.migrate()
    app = make_app(redis_url=pair.url, flasky_mail_dispatch="rq", database_url=running.env["DATABASE_URL"])
    rate = Rate("1000 per hour", connect(pair.url, timeout=0.5))
    with app.app_context():
        running.worker()
        enqueue(Message("before", ["b@example.com"], "text", sender="a@example.com"))
        smtp.wait_for(1, 20)
        assert rate.wait() == 0
        wait_until(lambda: pair.replica.client.exists("mail-rate"))
        pair.master.stop()
        wait_until(lambda: pair.replica.client.info("replication")["role"] == "master", 30, "the failover")
        enqueue(Message("after", ["b@example.com"], "text", sender="a@example.com"))
        smtp.wait_for(2, 20)
        # The worker hears the bell of the new master again.
        wait_until(lambda: pair.replica.client.smembers("rq:workers"), 40, "the worker's registration")
        counted = pair.replica.client.llen("mail-rate")
        wait_until(lambda: rate.wait() == 0 and pair.replica.client.llen("mail-rate") > counted, 20, "the shared rate")


def test_two_sites_on_one_redis_keep_apart_by_their_prefixes(redis_url: str) -> None:
    with Redis.from_url(redis_url) as redis:
        RqBell(redis, "").ring()
        RqBell(redis, "shop:").ring()
        assert redis.llen(QUEUE) == redis.llen("rq:queue:shop:mail") == 1
        rates = [Rate("1 per minute", redis, prefix) for prefix in ("", "shop:", "")]
        assert [rate.wait() > 0 for rate in rates] == [False, False, True]
        assert {b"mail-rate", b"shop:mail-rate"} <= set(redis.scan_iter())


def test_the_prefix_is_in_every_key_of_the_site(make_app: Callable[..., Flask], redis_url: str) -> None:
    app = make_app(redis_url=redis_url, flasky_mail_dispatch="rq", mail_redis_prefix="shop:")
    with app.app_context(), Redis.from_url(redis_url) as redis:
        enqueue(Message("hi", ["b@example.com"], "text", sender="a@example.com"))
        app.test_client().post("/")
        keys = {key.decode() for key in redis.scan_iter()}
    # RQ's own registries of queues and jobs are shared by all queues of a Redis, and its jobs have random names.
    shared = {key for key in keys if key == "rq:queues" or key.startswith("rq:job:")}
    assert keys - shared
    assert all("shop:" in key for key in keys - shared), keys


def test_the_rate_goes_by_the_clock_of_redis(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Redis.from_url(redis_url) as redis:
        one, other = Rate("1 per minute", redis), Rate("1 per minute", redis)
        assert one.wait() == 0
        real = time.time
        for hours in (-1, 1):
            monkeypatch.setattr(time, "time", lambda ahead=hours: real() + 3600 * ahead)
            assert 50 < other.wait() <= 60


@pytest.mark.parametrize(
    "url",
    ["redis+sentinel://", "redis+sentinel://host:26379", "redis+sentinel://a:1,/main", "http://x", "redis+sentinel://a b/main"],
)
def test_a_url_that_cannot_be_read_is_refused_in_one_sentence(make_app: Callable[..., Flask], url: str) -> None:
    with pytest.raises(ConfigurationError, match="REDIS_URL cannot be read: it has to look like"):
        make_app(redis_url=url)


def test_a_prefix_that_is_no_name_is_refused(make_app: Callable[..., Flask]) -> None:
    with pytest.raises(ConfigurationError, match="MAIL_REDIS_PREFIX is 'my shop'"):
        make_app(mail_redis_prefix="my shop")
