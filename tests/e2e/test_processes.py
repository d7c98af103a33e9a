"""The real site, the real worker and a real Redis, while one or another of them is away."""

from __future__ import annotations

import signal
import time
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_outbox.testing import SmtpServer, stall
from flasky import create_app
from flasky.config import Settings
from flasky.extensions import db
from flasky.mail import Email, send_email
from flasky.models import User
from tests.servers import RedisServer, Site, Visitor, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask

    from tests.servers import Process

# honcho kills five seconds after SIGTERM; four are promised, and what is above is for a machine that is busy with tests.
SECONDS_TO_STOP = 4.5
WITHOUT_REDIS = 15.0


@pytest.fixture
def visitor() -> Iterator[Callable[[Site], Visitor]]:
    """A function that sends somebody to a site."""
    made: list[Visitor] = []

    def make(site: Site) -> Visitor:
        made.append(Visitor(site.url))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def house(site: Callable[..., Site], smtp: SmtpServer, own_redis: RedisServer) -> Site:
    """A site over SQLite with its tables and a Redis of its own, not yet started."""
    made = site(REDIS_URL=own_redis.url, MAIL_SERVER="127.0.0.1", MAIL_PORT=smtp.port, WEB_CONCURRENCY=1)
    with app_of(made):
        db.create_all()
    return made


@contextmanager
def app_of(site: Site) -> Iterator[Flask]:
    """Push the site's app in this very process, for what needs no process of its own."""
    app = create_app(Settings.from_env(site.env))
    with app.app_context():
        yield app
        db.session.remove()
        db.engine.dispose()


def enqueue(site: Site, count: int = 1) -> None:
    with app_of(site):
        for number in range(count):
            send_email(f"{number}@example.com", "Hi", "mail/new_user", user=User(username="susan"))


def statuses(site: Site) -> list[str]:
    """Return the status of every email, oldest first."""
    with app_of(site):
        return list(db.session.scalars(sa.select(Email.status).order_by(Email.id)))


def started(site: Site) -> Process:
    worker = site.worker()
    wait_until(lambda: "worker started" in worker.output, 20, "the worker")
    return worker


def start_both(site: Site) -> Process:
    """Start the worker beside the web server, and return the worker."""
    worker = site.worker()
    site.web()
    wait_until(lambda: "worker started" in worker.output, 20, "the worker")
    return worker


def terminate(process: Process) -> float:
    """Send SIGTERM, see that it ends well, and return after how many seconds."""
    begin = time.monotonic()
    assert process.stop() == 0, process.output
    return time.monotonic() - begin


# In either order


@pytest.mark.parametrize(
    ("order", "database_url"), [(["web", "worker"], "sqlite"), (["worker", "web"], "postgresql")], indirect=["database_url"]
)
def test_site_and_worker_start_in_either_order(
    site: Callable[..., Site],
    database_url: str,
    smtp: SmtpServer,
    redis_url: str,
    visitor: Callable[[Site], Visitor],
    order: list[str],
) -> None:
    house = site(DATABASE_URL=database_url, REDIS_URL=redis_url, MAIL_SERVER="127.0.0.1", MAIL_PORT=smtp.port)
    house.migrate()
    for name in order:
        {"web": house.web, "worker": lambda: started(house)}[name]()
    visitor(house).type_name("susan")
    # At once, by the bell; the sweep would need three seconds.
    (mail,) = smtp.wait_for(1, 1.5)
    assert (mail.recipient, str(mail.message["Subject"])) == ("admin@example.com", "[Flasky] New User")
    wait_until(lambda: statuses(house) == ["sent"])


def test_ten_names_typed_without_a_worker_are_ten_mails_once_there_is_one(
    site: Callable[..., Site], database_url: str, smtp: SmtpServer, redis_url: str, visitor: Callable[[Site], Visitor]
) -> None:
    house = site(DATABASE_URL=database_url, REDIS_URL=redis_url, MAIL_SERVER="127.0.0.1", MAIL_PORT=smtp.port)
    house.migrate()
    terminate(start_both(house))
    somebody = visitor(house)
    for number in range(10):
        somebody.type_name(f"name {number}")
    assert smtp.accepted == []
    started(house)
    smtp.wait_for(10)
    wait_until(lambda: statuses(house) == ["sent"] * 10)
    time.sleep(0.5)
    assert len(smtp.accepted) == 10
    assert len({one.message_id for one in smtp.accepted}) == 10


# Redis away


@pytest.mark.parametrize("away", [RedisServer.stop, RedisServer.freeze], ids=["stopped", "frozen"])
def test_without_redis_the_page_answers_in_under_a_second_and_the_mail_arrives(
    house: Site, smtp: SmtpServer, own_redis: RedisServer, visitor: Callable[[Site], Visitor], away: Callable[[RedisServer], None]
) -> None:
    start_both(house)
    somebody = visitor(house)
    somebody.type_name("before")
    smtp.wait_for(1)
    away(own_redis)
    for number in range(3):
        begin = time.monotonic()
        answer = somebody.type_name(f"name {number}")
        assert time.monotonic() - begin < 1
        assert "Pleased to meet you!" in answer.text
    smtp.wait_for(4, WITHOUT_REDIS)
    wait_until(lambda: statuses(house) == ["sent"] * 4)


def test_the_bell_is_heard_again_once_redis_is_back(
    house: Site, smtp: SmtpServer, own_redis: RedisServer, visitor: Callable[[Site], Visitor]
) -> None:
    start_both(house)
    own_redis.stop()
    somebody = visitor(house)
    somebody.type_name("while it is away")
    smtp.wait_for(1, WITHOUT_REDIS)
    own_redis.start()
    wait_until(lambda: "blmove" in {one["cmd"] for one in own_redis.client.client_list()}, WITHOUT_REDIS, "the worker's return")
    # The bell is left alone for a second after it has failed.
    time.sleep(1)
    for number in range(3):
        somebody.type_name(f"name {number}")
        smtp.wait_for(2 + number, 1.5)


def test_a_redis_that_forgot_everything_loses_no_mail(
    house: Site, smtp: SmtpServer, own_redis: RedisServer, visitor: Callable[[Site], Visitor]
) -> None:
    house.web()
    somebody = visitor(house)
    somebody.type_name("one")
    own_redis.client.flushall()
    started(house)
    smtp.wait_for(1)
    own_redis.client.flushall()
    somebody.type_name("two")
    smtp.wait_for(2)
    wait_until(lambda: statuses(house) == ["sent", "sent"])


def test_a_worker_that_starts_without_redis_sends_and_hears_the_bell_later(
    house: Site, smtp: SmtpServer, own_redis: RedisServer
) -> None:
    own_redis.stop()
    enqueue(house)
    worker = started(house)
    smtp.wait_for(1, WITHOUT_REDIS)
    assert "Redis is down" in worker.output
    assert "Traceback" not in worker.output
    own_redis.start()
    wait_until(lambda: own_redis.client.exists("rq:workers"), WITHOUT_REDIS, "the worker's return")


def test_nothing_about_an_email_is_in_redis_or_in_the_log(
    house: Site, smtp: SmtpServer, own_redis: RedisServer, visitor: Callable[[Site], Visitor]
) -> None:
    web = house.web()
    visitor(house).type_name("Wintermute")
    waiting = everything_in(own_redis)
    assert b"flask_outbox.delivery.rq_worker.deliver_mail" in waiting
    worker = house.start("quiet-worker", "python", "worker.py")
    smtp.wait_for(1)
    wait_until(lambda: statuses(house) == ["sent"])
    time.sleep(0.2)
    for text in (waiting, everything_in(own_redis), web.output.encode(), worker.output.encode()):
        for private in (b"admin@", b"New User", b"Wintermute", smtp.accepted[0].message_id.encode()):
            assert private not in text


def everything_in(server: RedisServer) -> bytes:
    """Return every key and value, unpacked."""
    client = server.client
    read: dict[bytes, Callable[[bytes], Any]] = {
        b"string": client.get,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1),
        b"hash": lambda key: [part for pair in client.hgetall(key).items() for part in pair],
        b"stream": client.xrange,
    }
    found: list[bytes] = []
    for key in client.scan_iter():
        value = read[client.type(key)](key)
        found += [key, *(value if isinstance(value, (list, set)) else [value])]
    return b"\n".join(map(unpacked, map(bytes, found)))


def unpacked(value: bytes) -> bytes:
    try:
        return zlib.decompress(value)
    except zlib.error:
        return value


# One process, without Redis


@pytest.fixture
def lone_house(site: Callable[..., Site]) -> Site:
    """A site without Redis and without a worker, whose SMTP server is not there yet."""
    made = site(MAIL_SERVER="127.0.0.1", MAIL_PORT=free_port(), WEB_CONCURRENCY=1)
    with app_of(made):
        db.create_all()
    return made


def test_one_process_without_redis_sends_at_once(lone_house: Site, visitor: Callable[[Site], Visitor]) -> None:
    with SmtpServer(port=int(lone_house.env["MAIL_PORT"])) as smtp:
        web = lone_house.web()
        visitor(lone_house).type_name("susan")
        smtp.wait_for(1, 1.5)
        wait_until(lambda: statuses(lone_house) == ["sent"])
        assert terminate(web) < SECONDS_TO_STOP


def test_what_a_killed_web_process_left_behind_goes_out_when_it_is_started_again(
    lone_house: Site, visitor: Callable[[Site], Visitor]
) -> None:
    web = lone_house.web()
    visitor(lone_house).type_name("susan")
    wait_until(lambda: "no email can be sent" in web.output)
    web.kill()
    assert statuses(lone_house) == ["queued"]
    with SmtpServer(port=int(lone_house.env["MAIL_PORT"])) as smtp:
        again = lone_house.start("web-again", "gunicorn", "wsgi:app")
        smtp.wait_for(1, 20)
        assert '"GET /' not in again.output


# Other ways to deliver


def test_a_stock_rq_worker_delivers_too(house: Site, smtp: SmtpServer, visitor: Callable[[Site], Visitor]) -> None:
    house.web()
    worker = house.start("rq", "rq", "worker", "-S", "json", "-u", house.env["REDIS_URL"], "mail")
    somebody = visitor(house)
    for count in (1, 2):
        somebody.type_name(f"name {count}")
        smtp.wait_for(count, 20)
    wait_until(lambda: statuses(house) == ["sent"] * 2)
    assert "admin@" not in worker.output


def test_the_worker_explains_itself(house: Site) -> None:
    said = house.run("python", "worker.py", "--help")
    for word in ("--burst", "--verbose", "SIGTERM", ".env.example"):
        assert word in said


@pytest.mark.parametrize("redis_is_there", [True, False])
def test_a_burst_sends_what_is_due_and_ends(house: Site, smtp: SmtpServer, own_redis: RedisServer, redis_is_there: bool) -> None:
    enqueue(house, 2)
    if not redis_is_there:
        own_redis.stop()
    house.run("python", "worker.py", "--burst")
    assert statuses(house) == ["sent", "sent"]
    assert len(smtp.accepted) == 2


def test_a_worker_that_starts_before_its_tables_goes_on_once_they_are_there(
    site: Callable[..., Site], smtp: SmtpServer, redis_url: str, database_url: str
) -> None:
    house = site(DATABASE_URL=database_url, REDIS_URL=redis_url, MAIL_SERVER="127.0.0.1", MAIL_PORT=smtp.port)
    worker = started(house)
    wait_until(lambda: "the database cannot be used" in worker.output)
    house.migrate()
    enqueue(house)
    smtp.wait_for(1)
    assert worker.popen.poll() is None
    assert "Traceback" not in worker.output


def test_a_worker_builds_one_app_however_many_emails_it_sends(
    house: Site, smtp: SmtpServer, visitor: Callable[[Site], Visitor]
) -> None:
    count_apps = """
import flask, runpy, sys
build = flask.Flask.__init__
def __init__(self, *args, **options):
    print("ONE MORE APP", flush=True)
    build(self, *args, **options)
flask.Flask.__init__ = __init__
sys.argv = ["worker.py"]
sys.path.insert(0, ".")
runpy.run_path("worker.py", run_name="__main__")
"""
    house.web()
    worker = house.start("counted-worker", "python", "-c", count_apps)
    wait_until(lambda: "worker started" in worker.output, 20)
    somebody = visitor(house)
    for count in (1, 2, 3):
        somebody.type_name(f"name {count}")
        smtp.wait_for(count)
    assert worker.output.count("ONE MORE APP") == 1


# SIGTERM


def test_an_idle_worker_stops_at_once(house: Site) -> None:
    worker = started(house)
    wait_until(lambda: statuses(house) == [])
    assert terminate(worker) < SECONDS_TO_STOP / 2
    assert "Traceback" not in worker.output


@pytest.mark.parametrize("stage", ["CONNECT", "DOT"])
def test_a_worker_whose_server_stalls_stops_in_time_and_gives_the_email_back(house: Site, smtp: SmtpServer, stage: str) -> None:
    smtp.on(stage, stall, always=True)
    enqueue(house)
    worker = started(house)
    # The connection is made before anything is claimed.
    wait_until(lambda: smtp.connections > 0 and statuses(house) == ["queued" if stage == "CONNECT" else "sending"])
    time.sleep(0.2)
    assert terminate(worker) < SECONDS_TO_STOP
    assert statuses(house) == ["queued"]
    assert "Traceback" not in worker.output


def test_a_worker_finishes_the_email_on_the_wire_before_it_stops(house: Site, smtp: SmtpServer) -> None:
    def slowly(session: Any, usual: str) -> None:
        session.wait(1)
        session.say(usual)

    smtp.on("DOT", slowly, always=True)
    enqueue(house, 3)
    worker = started(house)
    wait_until(lambda: "DATA" in smtp.commands)
    assert terminate(worker) < SECONDS_TO_STOP
    assert statuses(house) == ["sent", "queued", "queued"]
    assert len(smtp.accepted) == 1


@pytest.mark.parametrize("away", [RedisServer.stop, RedisServer.freeze], ids=["stopped", "frozen"])
def test_a_worker_without_redis_stops_in_time_and_gives_the_email_back(
    house: Site, smtp: SmtpServer, own_redis: RedisServer, away: Callable[[RedisServer], None]
) -> None:
    smtp.on("DOT", stall, always=True)
    enqueue(house)
    worker = started(house)
    wait_until(lambda: statuses(house) == ["sending"])
    away(own_redis)
    time.sleep(0.5)
    assert terminate(worker) < SECONDS_TO_STOP
    assert statuses(house) == ["queued"]


@pytest.mark.parametrize("away", [RedisServer.stop, RedisServer.freeze], ids=["stopped", "frozen"])
def test_an_idle_worker_without_redis_stops_in_time(
    house: Site, own_redis: RedisServer, away: Callable[[RedisServer], None]
) -> None:
    worker = started(house)
    wait_until(lambda: own_redis.client.exists("rq:workers"))
    away(own_redis)
    time.sleep(0.5)
    assert terminate(worker) < SECONDS_TO_STOP


def test_ctrl_c_stops_a_worker_as_sigterm_does(house: Site) -> None:
    worker = started(house)
    worker.signal(signal.SIGINT)
    assert worker.popen.wait(SECONDS_TO_STOP) == 0
    assert "Traceback" not in worker.output
