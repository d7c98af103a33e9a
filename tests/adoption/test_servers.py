"""The web servers that hosts run: gunicorn with forked and green workers, and the development server with its reloader."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis
from rq import Queue

from flask_outbox.testing import slow
from tests.adoption.conftest import psycopg_url
from tests.servers import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_outbox.testing import SmtpServer
    from tests.adoption.conftest import HostProcess

APP = """
import os
import time
from flask import Flask
from flask_outbox import Email, Mail, send_email
from flask_sqlalchemy import SQLAlchemy

app = Flask(__name__)
app.config["MAIL_DEFAULT_SENDER"] = "a@b.example"
app.config.from_prefixed_env()
db, mail = SQLAlchemy(), Mail()
db.init_app(app)
mail.init_app(app)

class User(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    name = db.Column(db.String(80))

@app.cli.command("create-tables")
def create_tables():
    db.create_all()

@app.post("/users/<name>")
def add_user(name):
    db.session.add(User(name=name))
    send_email(f"{name}@b.example", "Hi", "hello", name=name)
    db.session.commit()
    return str(os.getpid())

@app.post("/slowly/<name>")
async def add_slowly(name):
    import asyncio
    db.session.add(User(name=name))
    await asyncio.sleep(0.01)
    send_email(f"{name}@b.example", "Hi", "hello", name=name)
    await asyncio.sleep(0.01)
    db.session.commit()
    return str(os.getpid())

def job(name):
    with app.app_context():
        send_email(f"{name}@b.example", "Hi", "hello", name=name)

@app.get("/sent")
def sent():
    return str(db.session.query(Email).filter_by(status="sent").count())
"""
NAMES = [f"user{number}" for number in range(30)]


@pytest.fixture
def host(host_process: Callable[..., HostProcess], sqlalchemy_url: str) -> HostProcess:
    host = host_process(APP, FLASK_SQLALCHEMY_DATABASE_URI=sqlalchemy_url)
    host.run("flask", "create-tables")
    return host


def post_all(host: HostProcess, path: str) -> set[str]:
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda name: host.post(f"{path}/{name}"), NAMES))
    assert {answer.status_code for answer in answers} == {200}, host.folder.joinpath("web.log").read_text()[-2000:]
    return {answer.text for answer in answers}


def assert_all_arrived_once(host: HostProcess, smtp: SmtpServer) -> None:
    smtp.wait_for(len(NAMES), 30)
    wait_until(lambda: host.get("/sent") == str(len(NAMES)), what="the last settled email")
    assert Counter(one.recipient for one in smtp.accepted) == Counter(f"{name}@b.example" for name in NAMES)


def test_two_forked_workers_of_one_preloaded_app(host: HostProcess, smtp: SmtpServer) -> None:
    web = host.serve("gunicorn", "--preload", "-w", "2", "--threads", "3", "-b", f"127.0.0.1:{host.port}", "app:app")
    assert len(post_all(host, "/users")) == 2, "both workers have answered"
    assert_all_arrived_once(host, smtp)
    assert web.stop() == 0
    assert "Traceback" not in web.output


def test_green_workers_deliver(host: HostProcess, smtp: SmtpServer) -> None:
    web = host.serve("gunicorn", "-k", "gevent", "-w", "1", "-b", f"127.0.0.1:{host.port}", "app:app")
    post_all(host, "/users")
    assert_all_arrived_once(host, smtp)
    assert host.post("/users/last").status_code == 200
    smtp.wait_for(len(NAMES) + 1)
    assert web.stop() == 0
    assert "Traceback" not in web.output


def test_async_views_send_too(host: HostProcess, smtp: SmtpServer) -> None:
    web = host.serve()
    post_all(host, "/slowly")
    assert_all_arrived_once(host, smtp)
    assert "Traceback" not in web.output


def test_the_reloader_sends_no_copy(host: HostProcess, smtp: SmtpServer) -> None:
    web = host.serve("flask", "--debug", "run", "--port", str(host.port))
    assert "Restarting with" in web.output
    post_all(host, "/users")
    assert_all_arrived_once(host, smtp)
    # A change of the code: the process is replaced, and the next one delivers.
    source = host.folder / "app.py"
    (pid,) = {host.post("/users/before").text}
    source.write_text(source.read_text() + "\n# changed\n")
    wait_until(lambda: "Detected change" in web.output, 20, "the reloader")

    def answers_anew() -> bool:
        try:
            return host.post("/users/after").text != pid
        except Exception:  # noqa: BLE001 - the server is being replaced
            return False

    wait_until(answers_anew, 20, "the new process")
    smtp.wait_for(len(NAMES) + 2)
    assert Counter(one.recipient for one in smtp.accepted)["before@b.example"] == 1
    assert "Traceback" not in web.output


def test_a_pool_of_one_connection_serves_requests_and_the_thread(
    host_process: Callable[..., HostProcess], postgresql_url: str, smtp: SmtpServer
) -> None:
    options: dict[str, Any] = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 5}
    host = host_process(
        APP,
        FLASK_SQLALCHEMY_DATABASE_URI=postgresql_url,
        FLASK_SQLALCHEMY_ENGINE_OPTIONS=str(options).replace("'", '"'),
    )
    host.run("flask", "create-tables")
    web = host.serve()
    post_all(host, "/users")
    smtp.wait_for(len(NAMES), 30)
    # A slow server: the thread is busy for longer than a request may wait for a connection.
    smtp.on("DOT", slow(0.5), always=True)
    post_all(host, "/users")
    longest = 0.0
    for _ in range(10):
        begun = time.monotonic()
        assert host.post("/users/late").status_code == 200
        longest = max(longest, time.monotonic() - begun)
    assert longest < 3, "a request waited for the thread"
    smtp.reset()
    smtp.wait_for(2 * len(NAMES) + 10, 30)
    assert "Traceback" not in web.output


def test_a_job_of_rq_s_waits_for_its_email(
    host_process: Callable[..., HostProcess], database_url: str, redis_url: str, smtp: SmtpServer
) -> None:
    """RQ's child process leaves as soon as the job is done, and takes a thread with it."""
    host = host_process(APP, FLASK_SQLALCHEMY_DATABASE_URI=psycopg_url(database_url))
    host.run("flask", "create-tables")
    smtp.on("DOT", slow(0.5), always=True)
    with Redis.from_url(redis_url) as redis:
        for number in range(3):
            Queue(connection=redis).enqueue("app.job", f"user{number}")
    host.run("rq", "worker", "--burst", "-u", redis_url)
    assert [one.recipient for one in smtp.accepted] == [f"user{number}@b.example" for number in range(3)]
    host.serve()
    assert host.get("/sent") == "3"
