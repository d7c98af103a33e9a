"""Whoever can write to Redis cannot run code: neither the worker nor the dashboard executes anything that Redis holds."""

from __future__ import annotations

import base64
import json
import pickle
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis
from rq.worker import Worker

from flask_outbox.delivery.rq_worker import JOB
from tests.servers import wait_until
from tests.site.admin.test_dashboard import ask_every_rule
from tests.site.visiting import signed_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from flask_outbox.testing import SmtpServer
    from tests.servers import Site

REGISTRIES = ("wip", "failed", "finished", "deferred", "scheduled", "canceled")


class Planted:
    """Creates the file that it is named after, when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def plant(redis: Redis, folder: Path) -> None:
    """Plant a pickle at each place in Redis where RQ or the dashboard may read one, and jobs that name functions to call."""

    def bomb(name: str) -> bytes:
        return pickle.dumps(Planted(folder / f"pickle-{name}"))

    now = time.time()
    stamp = "2026-11-25T10:00:00.000000Z"
    usual = {"created_at": stamp, "enqueued_at": stamp, "origin": "mail", "status": "queued", "timeout": 10, "description": "x"}
    for field in ("data", "meta", "result"):
        job = f"planted-{field}"
        redis.hset(f"rq:job:{job}", mapping={**usual, "data": json_job("os.getpid"), field: bomb(field)})
        redis.rpush("rq:queue:mail", job)
    for registry in REGISTRIES:
        job = f"planted-{registry}"
        packed = zlib.compress(bomb(f"{registry}-data"))
        redis.hset(f"rq:job:{job}", mapping={**usual, "data": packed, "meta": bomb(f"{registry}-meta")})
        # Due for cleaning, which fetches the job.
        redis.zadd(f"rq:{registry}:mail", {job: now - 100, f"{job}:execution": now - 100})
        redis.zadd(f"rq:{registry}:mail", {f"{job}-live": now + 100})
        redis.hset(f"rq:job:{job}-live", mapping={**usual, "data": packed, "meta": bomb(f"{registry}-live")})
    redis.xadd("rq:results:planted-finished", {"type": 1, "created_at": stamp, "return_value": base64.b64encode(bomb("results"))})
    redis.sadd("rq:groups", "rq:group:planted")
    redis.sadd("rq:group:planted", "planted-wip", "planted-failed")
    redis.hset("rq:worker:planted", mapping={"birth": stamp, "queues": "mail", "state": "busy", "current_job": "planted-wip"})
    redis.zadd("rq:executions:planted-wip", {"execution": now + 100})
    redis.sadd("rq:workers", "rq:worker:planted")
    redis.sadd("rq:workers:mail", "rq:worker:planted")
    redis.sadd("rq:queues", "rq:queue:mail")
    calls = {
        "function": {"data": json_job("pathlib.Path.touch", str(folder / "json-function"))},
        "success": {"data": json_job(JOB), "success_callback_name": "tests.site.admin.test_planted.touch"},
        "failure": {"data": json_job("no.such"), "failure_callback_name": "tests.site.admin.test_planted.touch"},
    }
    for name, fields in calls.items():
        redis.hset(f"rq:job:planted-{name}", mapping={**usual, **fields, "description": str(folder / f"json-{name}")})
        redis.rpush("rq:queue:mail", f"planted-{name}")


def json_job(function: str, *arguments: str) -> bytes:
    return zlib.compress(json.dumps([function, None, arguments, {}]).encode())


def touch(job: Any, *_: Any) -> None:
    """Create the file that the job's description names: a callback that must never run."""
    Path(job.description).touch()


@pytest.fixture
def planted(redis_url: str, tmp_path: Path) -> Path:
    folder = tmp_path / "planted"
    folder.mkdir()
    with Redis.from_url(redis_url) as redis:
        plant(redis, folder)
    return folder


def test_the_plants_work(planted: Path, redis_url: str) -> None:
    """Prove the other tests: a reader that unpickles runs the code."""
    with Redis.from_url(redis_url) as redis:
        pickle.loads(redis.hget("rq:job:planted-data", "data") or b"")
    assert [path.name for path in planted.iterdir()] == ["pickle-data"]


def test_the_worker_runs_nothing_that_redis_holds(
    planted: Path, redis_url: str, site: Callable[..., Site], smtp: SmtpServer
) -> None:
    running = site(REDIS_URL=redis_url, MAIL_SERVER="127.0.0.1", MAIL_PORT=smtp.port)
    running.worker()
    with Redis.from_url(redis_url) as redis:
        wait_until(lambda: redis.zscore("rq:failed:mail", "planted-failure") is not None, 20)
        assert redis.zscore("rq:failed:mail", "planted-function") is not None
        # A bell rings, whatever else it says.
        assert redis.zscore("rq:finished:mail", "planted-success") is not None
    assert not list(planted.iterdir())


def test_the_dashboard_runs_nothing_that_redis_holds(
    planted: Path, redis_url: str, make_app: Callable[..., Flask], caplog: pytest.LogCaptureFixture
) -> None:
    app: Flask = make_app(redis_url=redis_url, flasky_mail_dispatch="rq")
    admin = signed_in(app, admin=True)
    # A page about a job that is no JSON is the 500 page, and no more.
    app.config["PROPAGATE_EXCEPTIONS"] = False
    caplog.set_level("CRITICAL")
    for _, answer in ask_every_rule(app, admin):
        answer.close()
    root = "/admin/rq/0"
    for registry in ("queued", *REGISTRIES, "started"):
        admin.get(f"{root}/view/jobs/mail/{registry}/8/asc/1")
        admin.get(f"{root}/data/jobs/mail/{registry}/8/asc/1.json")
        for name in (f"planted-{registry}", f"planted-{registry}-live", "planted-data", "planted-meta", "planted-result"):
            admin.get(f"{root}/view/job/{name}")
            admin.get(f"{root}/data/job/{name}.json")
    admin.get(f"{root}/data/workers.json")
    with Redis.from_url(redis_url) as redis:
        assert Worker.all(connection=redis)
    assert not list(planted.iterdir())
