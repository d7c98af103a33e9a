"""Limits: counted in Redis for all processes together, in memory while there is none, and never in a visitor's way."""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis

from flasky.limiting import may
from tests.servers import Process, redis_binary, wait_until
from tests.site.visiting import fill

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from tests.servers import RedisServer


def test_what_is_within_the_limit_may_happen_and_no_more(context: Flask) -> None:
    assert [may("knock", "2 per hour") for _ in range(4)] == [True, True, False, False]


def test_one_limit_does_not_use_up_another(context: Flask) -> None:
    assert may("knock", "1 per hour")
    assert may("ring", "1 per hour")
    assert not may("ring", "1 per hour")


def test_a_limit_of_none_lets_nothing_through(context: Flask) -> None:
    assert not may("knock", "0 per hour")


def test_the_limit_ends_with_its_time(context: Flask) -> None:
    assert may("knock", "1 per second")
    wait_until(lambda: may("knock", "1 per second"), 3)


def test_two_processes_count_together_in_redis(make_app: Callable[..., Flask], redis_url: str) -> None:
    counted = []
    for _ in range(3):
        with make_app(redis_url=redis_url).app_context():
            counted.append(may("knock", "2 per hour"))
    assert counted == [True, True, False]


def test_a_redis_behind_a_unix_socket_is_used_too(make_app: Callable[..., Flask], tmp_path: Path) -> None:
    # The path of a socket has 107 characters at most.
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "redis.sock"
        server = Process([redis_binary(), "--port", "0", "--unixsocket", str(socket), "--save", ""], tmp_path / "redis.log")
        try:
            wait_until(socket.exists)
            app = make_app(redis_url=f"unix://{socket}", flasky_mail_dispatch="rq", mail_rate="10 per second")
            assert fill(app.test_client(), name="susan").status_code == 302
            with Redis(unix_socket_path=str(socket)) as redis:
                assert list(redis.scan_iter("*flasky*"))
                assert redis.llen("rq:queue:mail") == 1
        finally:
            server.stop()


def test_many_at_once_are_counted_one_by_one(make_app: Callable[..., Flask], redis_url: str) -> None:
    app = make_app(redis_url=redis_url)
    allowed: list[bool] = []

    def knock() -> None:
        with app.app_context():
            allowed.extend(may("knock", "25 per hour") for _ in range(10))

    threads = [threading.Thread(target=knock) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(allowed) == 25


@pytest.mark.parametrize("trouble", ["stop", "freeze"])
def test_while_redis_is_away_each_process_counts_for_itself(
    make_app: Callable[..., Flask], own_redis: RedisServer, trouble: str
) -> None:
    with make_app(redis_url=own_redis.url).app_context():
        assert may(trouble, "2 per hour")
        getattr(own_redis, trouble)()
        start = time.monotonic()
        assert [may(trouble, "2 per hour") for _ in range(3)] == [True, True, False]
        assert time.monotonic() - start < 1


def test_the_counters_in_redis_have_an_end(make_app: Callable[..., Flask], own_redis: RedisServer) -> None:
    app = make_app(redis_url=own_redis.url)
    fill(app.test_client(), name="susan")
    keys = [key for key in own_redis.client.scan_iter() if b"LIMIT" in key]
    assert len(keys) == 2
    assert all(0 < own_redis.client.ttl(key) <= 3600 for key in keys)


def test_the_limiter_needs_no_certificate_that_can_be_verified_where_the_settings_say_so(make_app: Callable[..., Flask]) -> None:
    def tls_options(**settings: Any) -> dict[str, Any]:
        app = make_app(redis_url="rediss://localhost:1/0", **settings)
        options: dict[str, Any] = app.config["RATELIMIT_STORAGE_OPTIONS"]["connection_pool"].connection_kwargs
        return options

    assert tls_options(redis_tls_verify=False)["ssl_cert_reqs"] == "none"
    assert "ssl_cert_reqs" not in tls_options()
