"""Redis and the databases go away, come back, and forget: nothing is lost, and nothing goes out twice."""

from __future__ import annotations

import sqlite3
import threading
import time
from typing import TYPE_CHECKING

import pytest

from flask_outbox.testing import slow
from flasky.extensions import db
from tests.servers import wait_until

if TYPE_CHECKING:
    from tests.chaos.conftest import Stage
    from tests.servers import PostgresServer, RedisServer


def finish(stage: Stage) -> None:
    stage.wait_until_sent()
    stage.assert_nothing_lost()
    stage.assert_nothing_twice()


def test_redis_stops_and_starts_again(stage: Stage, own_redis: RedisServer) -> None:
    worker = stage.worker()
    stage.put(5)
    stage.wait_until_sent()
    own_redis.stop()
    begun = time.monotonic()
    stage.put(5)
    assert time.monotonic() - begun < 2
    stage.wait_until_sent(10)
    own_redis.start()
    wait_until(lambda: own_redis.client.scard("rq:workers") == 1, 15, "the worker in Redis again")
    stage.put(5)
    finish(stage)
    assert worker.popen.poll() is None


def test_redis_is_wiped_with_mail_pending(stage: Stage, own_redis: RedisServer) -> None:
    stage.smtp.on("DOT", slow(0.05), always=True)
    stage.worker()
    stage.put(30)
    own_redis.client.flushall()
    stage.put(5)
    finish(stage)


def test_redis_hangs(stage: Stage, own_redis: RedisServer) -> None:
    worker = stage.worker()
    stage.put(5)
    stage.wait_until_sent()
    own_redis.freeze()
    begun = time.monotonic()
    stage.put(5)
    assert time.monotonic() - begun < 2
    stage.wait_until_sent(10)
    own_redis.thaw()
    stage.put(5)
    finish(stage)
    assert worker.popen.poll() is None


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("pause", [0, 3])
def test_postgresql_restarts_in_the_middle(stage: Stage, postgres: PostgresServer, pause: float) -> None:
    stage.smtp.on("DOT", slow(0.02), always=True)
    worker = stage.worker(lease=20)
    stage.put(60)
    stage.smtp.wait_for(10)
    postgres.restart(pause)
    db.session.remove()
    db.engine.dispose()
    stage.put(5)
    finish(stage)
    assert worker.popen.poll() is None


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_another_writer_locks_sqlite_for_ten_seconds(stage: Stage) -> None:
    stage.smtp.on("DOT", slow(0.02), always=True)
    worker = stage.worker(lease=20)
    stage.put(60)
    stage.smtp.wait_for(10)
    path = str(db.engine.url.database)

    def hog() -> None:
        connection = sqlite3.connect(path, timeout=30)
        connection.execute("BEGIN IMMEDIATE")
        time.sleep(10)
        connection.rollback()
        connection.close()

    thread = threading.Thread(target=hog)
    thread.start()
    finish(stage)
    thread.join()
    assert worker.popen.poll() is None


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_worker_ends_in_time_although_the_database_is_locked(stage: Stage) -> None:
    stage.smtp.on("DOT", slow(0.5), always=True)
    worker = stage.worker(lease=20)
    stage.put(5)
    stage.smtp.wait_for(1, 15)
    hog = sqlite3.connect(str(db.engine.url.database), timeout=30, isolation_level=None)
    hog.execute("BEGIN IMMEDIATE")
    time.sleep(0.7)
    begun = time.monotonic()
    assert worker.stop(10) == 0
    assert time.monotonic() - begun < 4.5
    hog.close()
