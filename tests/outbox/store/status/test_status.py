"""The parts of the status: what is due, how fast mail goes, which workers run, why emails failed, and the services."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from flask_outbox import BULK, URGENT, Attempt, Email
from flask_outbox.store.models import Worker
from flask_outbox.store.status import groups, kept, pace
from flask_outbox.store.status.groups import read_groups
from flask_outbox.store.status.pace import read_delivery_time
from flask_outbox.store.status.status import Service, StatusReader
from flask_outbox.store.status.waiting import Waiting, read_waiting
from flask_outbox.store.status.workers import read_workers
from flask_outbox.testing import reply
from flasky.extensions import db
from tests.servers import RedisServer

if TYPE_CHECKING:
    from flask import Flask

    from flask_outbox.testing import SmtpServer

pytestmark = pytest.mark.usefixtures("quiet")


def ago(**span: float) -> datetime:
    return datetime.now(UTC) - timedelta(**span)


def change(**values: Any) -> None:
    with db.engine.begin() as connection:
        connection.execute(sa.update(Email).values(values))


def test_nothing_waits_in_an_empty_outbox() -> None:
    assert read_waiting(db.engine) == Waiting(0, None)


def test_what_is_due_is_counted_whatever_its_priority_and_the_oldest_is_told(put: Any) -> None:
    put(priority=URGENT)
    put(send_at=ago(hours=2))
    put(priority=BULK, send_at=ago(hours=1))
    put(priority=BULK, send_at=datetime.now(UTC) + timedelta(hours=1))
    found = read_waiting(db.engine)
    assert found.due == 3
    assert found.oldest is not None
    assert abs(found.oldest - ago(hours=2)) < timedelta(minutes=1)


def test_what_is_sent_or_held_is_not_due(put: Any, deliver: Any) -> None:
    put()
    deliver()
    put()
    change(status="held")
    assert read_waiting(db.engine) == Waiting(0, None)


def test_what_is_due_is_found_by_an_index(put: Any) -> None:
    put()
    asked: list[Any] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "mail_email" in statement:
            asked.append((statement, parameters))

    sa.event.listen(db.engine, "before_cursor_execute", note)
    read_waiting(db.engine)
    read_groups(db.engine)
    sa.event.remove(db.engine, "before_cursor_execute", note)
    with db.engine.connect() as connection:
        is_sqlite = connection.dialect.name == "sqlite"
        if not is_sqlite:
            connection.exec_driver_sql("SET enable_seqscan = off")
        for statement, parameters in asked:
            plan = connection.exec_driver_sql(("EXPLAIN QUERY PLAN " if is_sqlite else "EXPLAIN ") + statement, parameters)
            steps = "\n".join(row[-1] for row in plan)
            assert "ix_mail_email_due" in steps or "ix_mail_email_failure" in steps, (statement, steps)


def test_failures_are_grouped_by_why_with_the_first_and_the_last(put: Any, deliver: Any, smtp: SmtpServer) -> None:
    smtp.on("RCPT", *(reply(f"550 5.1.1 no user {number} here") for number in (1, 2)), reply("552 5.2.2 full"))
    for number in range(4):
        put(f"b{number}@example.com")
    deliver()
    many, one = read_groups(db.engine)
    assert (many.failure, many.count) == ("550 5.1.1 no user … here", 2)
    assert (one.failure, one.count) == ("552 5.2.2 full", 1)
    assert many.first is not None
    assert many.last is not None
    assert ago(minutes=1) < many.first < many.last


def test_failures_of_an_older_version_are_a_group_without_a_name(put: Any) -> None:
    put()
    change(status="failed", finished_at=ago(hours=1))
    (found,) = read_groups(db.engine)
    assert (found.failure, found.count) == (None, 1)


def test_strangers_cannot_make_the_list_of_groups_endless(put: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "MOST_GROUPS", 2)
    for number in range(4):
        email = put()
        with db.engine.begin() as connection:
            values = {"status": "failed", "failure": f"reason {'x' * number}", "finished_at": ago(hours=1)}
            connection.execute(sa.update(Email).where(Email.id == email.id).values(values))
    assert len(read_groups(db.engine)) == 2


# From commit to acceptance


def accept(email: Email, due_since: datetime, seconds: float, outcome: str = "sent") -> None:
    """Record that an attempt has settled *email* so many *seconds* after it became due."""
    with db.engine.begin() as connection:
        connection.execute(sa.update(Email).where(Email.id == email.id).values(due_since=due_since, status="sent"))
        row = {"email_id": email.id, "seconds": 0.5, "worker": "w", "outcome": outcome}
        connection.execute(sa.insert(Attempt).values(started_at=due_since + timedelta(seconds=seconds - 0.5), **row))


def test_the_delivery_time_is_from_due_to_the_end_of_the_accepting_attempt(put: Any) -> None:
    for number in range(1, 21):
        accept(put(), ago(minutes=30 - number), float(number))
    accept(put(), ago(minutes=1), 50.0, outcome="deferred")
    found = read_delivery_time(db.engine, timedelta(hours=1))
    assert found is not None
    assert (found.count, found.median, found.p95) == (20, pytest.approx(10.5), pytest.approx(19.0))
    assert abs(found.last - ago(minutes=10)) < timedelta(minutes=1)


def test_only_the_newest_of_the_period_count(put: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "SAMPLE", 2)
    for hours, seconds in ((30, 100.0), (2, 50.0), (1, 3.0), (0.5, 1.0)):
        accept(put(), ago(hours=hours), seconds)
    found = read_delivery_time(db.engine, timedelta(days=1))
    assert found is not None
    assert (found.count, found.median) == (2, pytest.approx(2.0))
    assert read_delivery_time(db.engine, timedelta(minutes=5)) is None


# Workers


def test_a_worker_is_lost_when_it_has_not_been_seen_for_a_while() -> None:
    with db.engine.begin() as connection:
        for name, seen in (("a", ago(minutes=5)), ("b", ago(seconds=3))):
            connection.execute(sa.insert(Worker).values(name=name, started_at=ago(hours=1), seen_at=seen, doing="waiting"))
    assert [(worker.name, worker.is_lost) for worker in read_workers(db.engine)] == [("b", False), ("a", True)]


# All together


def reader(app: Flask) -> StatusReader:
    found: StatusReader = app.extensions["mail"].status_reader
    return found


def test_the_status_of_an_outbox_that_works(quiet: Flask, put: Any, deliver: Any) -> None:
    put()
    deliver()
    found = reader(quiet).read()
    assert found.health.is_healthy
    assert found.counts == {"sent": 1}
    assert found.database.name.startswith("SQLite 3." if db.engine.dialect.name == "sqlite" else "PostgreSQL ")
    assert found.server is not None
    assert found.server.address == f"127.0.0.1:{quiet.config['MAIL_PORT']}"
    assert (found.server.problem, found.redis) == (None, None)
    assert found.delivery_time is not None
    assert found.as_of is not None


def test_when_time_is_short_each_figure_has_its_turn(quiet: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "SHORTEST", 0.0)
    monkeypatch.setattr(kept, "FACTOR", 0.0)
    status, done = reader(quiet), []

    def slowly(name: str, value: Any) -> Any:
        time.sleep(0.02)
        done.append(name)
        return value

    readers = {"database": partial(slowly, "database", Service("x")), "counts": partial(slowly, "counts", {})}
    monkeypatch.setattr(status, "_readers", lambda period, deadline: readers)
    for _ in range(5):
        status.read(seconds=0.01)
    assert done == ["database", "counts"] * 3


def test_the_status_tells_what_the_server_has_said(quiet: Flask, put: Any, deliver: Any, smtp: SmtpServer) -> None:
    put()
    smtp.on("MAIL", reply("530 5.7.0 Authentication required"), always=True)
    deliver()
    server = reader(quiet).read().server
    assert server is not None
    assert server.problem is not None
    assert "530 5.7.0 Authentication required" in server.problem
    assert server.next_try_at is not None


def test_without_a_database_the_status_says_so_and_no_more() -> None:
    engine = sa.create_engine("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    from flask_outbox.store.status.health import read_health

    found = StatusReader(engine, "x:25", lambda: read_health(engine), None).read()
    assert [problem.reason for problem in found.health.problems] == ["database"]
    assert found.database.problem
    assert found.activity is None


def test_an_error_between_two_reads_is_an_error_and_not_a_wrong_figure(quiet: Flask) -> None:
    reader(quiet).health()
    with db.engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE mail_worker"))
    with pytest.raises(sa.exc.DBAPIError) as caught:
        reader(quiet).read()
    assert isinstance(caught.value, OperationalError | sa.exc.ProgrammingError)


def test_redis_is_asked_for_an_answer_and_not_waited_for(make_app: Any, database_url: str, own_redis: RedisServer) -> None:
    app = make_app(database_url=database_url, redis_url=own_redis.url, flasky_mail_dispatch="rq")
    with app.app_context():
        status = reader(app)
        answer = status._read_redis()
        assert answer is not None
        assert answer.problem is None
        own_redis.freeze()
        frozen = status._read_redis()
        own_redis.thaw()
        assert frozen is not None
        assert "imeout" in (frozen.problem or "")
        assert frozen.seconds < 1
        own_redis.stop()
        gone = status._read_redis()
        assert gone is not None
        assert "refused" in (gone.problem or "")
