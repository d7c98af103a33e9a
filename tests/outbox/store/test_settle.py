"""Settling on the driver: it writes what Core would write, in one commit, and leaves the connection in its usual mode."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_outbox import Attempt, Email
from flask_outbox.store import statements
from flask_outbox.store.database import connection
from flask_outbox.store.outbox import Outbox, Try
from flasky.extensions import db

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask

pytestmark = pytest.mark.usefixtures("quiet")
sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
Put, Read = "Callable[..., Email]", "Callable[[], Any]"


def make_try(outcome: str = "sent") -> Try:
    return Try(datetime(2026, 11, 25, 12, 30, 15, 123456, UTC), 0.25, outcome, 250, "2.0.0", '2.0.0 Grüße \'nd "%s" ?')


@pytest.fixture
def box(quiet: Flask) -> Iterator[Outbox]:
    one = Outbox(db.engine, "host:1")
    yield one
    one.close()


def level() -> int:
    with db.engine.connect() as connection:
        return int(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())


def test_what_the_driver_writes_is_what_the_models_read(box: Outbox, put: Put) -> None:
    put()
    batch = box.claim()
    assert batch is not None
    (email,) = batch.open.values()
    assert box.settle_sent(batch, email, make_try())
    noted = db.session.scalars(sa.select(Attempt)).one()
    assert (noted.started_at, noted.seconds, noted.worker) == (make_try().started_at, 0.25, "host:1")
    assert (noted.outcome, noted.code, noted.enhanced, noted.reply) == ("sent", 250, "2.0.0", make_try().reply)
    settled = db.session.scalars(sa.select(Email)).one()
    assert (settled.status, settled.tries, settled.reply) == ("sent", 1, f"250 {make_try().reply}")
    assert settled.finished_at is not None
    assert abs((settled.finished_at - datetime.now(UTC)).total_seconds()) < 5
    assert (settled.lease, settled.lease_until, settled.send_at) == (None, None, email.send_at)


def test_each_settle_is_a_commit_of_its_own(box: Outbox, put: Put, statuses: Read) -> None:
    for _ in range(3):
        put()
    batch = box.claim()
    assert batch is not None
    for count, email in enumerate(list(batch.open.values()), 1):
        box.settle_sent(batch, email, make_try())
        assert statuses() == ["sent"] * count + ["sending"] * (3 - count)


def test_a_lost_lease_changes_no_email_but_the_attempt_is_recorded(box: Outbox, put: Put, statuses: Read) -> None:
    put()
    batch = box.claim()
    assert batch is not None
    box.release_lease(batch.token)
    assert box.claim() is not None
    (email,) = batch.open.values()
    assert not box.settle_sent(batch, email, make_try("sent"))
    assert statuses() == ["sending"]
    assert db.session.scalars(sa.select(Attempt.outcome)).all() == ["sent"]


def test_an_acceptance_is_recorded_without_a_lease_if_nobody_has_claimed_the_email_since(
    box: Outbox, put: Put, statuses: Read
) -> None:
    put()
    batch = box.claim()
    assert batch is not None
    box.release_lease(batch.token)
    (email,) = batch.open.values()
    assert box.settle_sent(batch, email, make_try("sent"))
    assert statuses() == ["sent"]
    assert box.claim() is None


def test_a_refusal_without_a_lease_changes_no_email(box: Outbox, put: Put, statuses: Read) -> None:
    put()
    batch = box.claim()
    assert batch is not None
    box.release_lease(batch.token)
    (email,) = batch.open.values()
    assert not box.settle_refused(batch, email, make_try("refused"))
    assert statuses() == ["queued"]


def test_an_error_of_the_driver_is_retried_on_a_new_connection(
    box: Outbox, put: Put, statuses: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    put()
    batch = box.claim()
    assert batch is not None
    (email,) = batch.open.values()
    execute, away = statements.Prepared.execute, [True]

    def fail_once(self: Any, cursor: Any, values: Any) -> int:
        if away:
            away.clear()
            raise db.engine.dialect.dbapi.OperationalError("away")  # type: ignore[union-attr]
        return execute(self, cursor, values)

    monkeypatch.setattr(statements.Prepared, "execute", fail_once)
    assert box.settle_sent(batch, email, make_try())
    assert statuses() == ["sent"]
    assert db.session.scalar(sa.select(sa.func.count(Attempt.id))) == 1
    assert not away


def test_the_connection_works_as_usual_after_a_settle(box: Outbox, put: Put, statuses: Read) -> None:
    for _ in range(2):
        put()
    batch = box.claim(1)
    assert batch is not None
    (email,) = batch.open.values()
    box.settle_sent(batch, email, make_try())

    # A transaction is a transaction again: what fails in it leaves nothing behind.
    def hold_and_fail() -> None:
        with box._database.begin() as current:
            current.execute(sa.update(Email).values(status="held"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        hold_and_fail()
    assert statuses() == ["sent", "queued"]


@pytest.fixture
def fsyncs(quiet: Flask, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether SQLite was told to fsync, for each claim and each settle; PostgreSQL always does."""
    seen: list[bool] = []
    set_fsync = connection._set_fsync

    def note(current: Any, *, on: bool) -> None:
        seen.append(on)
        set_fsync(current, on=on)
        cursor = current.connection.cursor()
        assert cursor.execute("PRAGMA synchronous").fetchone() == (2 if on else 1,)

    monkeypatch.setattr(connection, "_set_fsync", note)
    return seen


class Clock:
    """The clock by which the time since the last fsync is counted; the test moves it."""

    seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    one = Clock()
    monkeypatch.setattr(connection, "time", one)
    return one


@sqlite
def test_under_load_sqlite_fsyncs_each_ten_milliseconds(box: Outbox, put: Put, fsyncs: list[bool], clock: Clock) -> None:
    for _ in range(5):
        put()
    batch = box.claim()
    assert batch is not None
    for email in list(batch.open.values()):
        box.settle_sent(batch, email, make_try())
        clock.seconds += 0.004
    assert fsyncs == [False, True, False, False, True, False]  # the claim, then the settles at 0, 4, 8, 12 and 16 ms


@sqlite
def test_an_email_that_comes_alone_is_fsynced(box: Outbox, put: Put, fsyncs: list[bool], clock: Clock) -> None:
    for _ in range(3):
        put()
        batch = box.claim()
        assert batch is not None
        (email,) = batch.open.values()
        clock.seconds += connection.FSYNC_EVERY * 1.5
        box.settle_sent(batch, email, make_try())
    assert fsyncs == [False, True] * 3


@sqlite
@pytest.mark.parametrize("end", ["flush", "close"])
def test_the_last_emails_of_a_rush_are_flushed_to_disk(box: Outbox, put: Put, fsyncs: list[bool], clock: Clock, end: str) -> None:
    for _ in range(3):
        put()
    batch = box.claim()
    assert batch is not None
    for email in list(batch.open.values()):
        box.settle_sent(batch, email, make_try())
    assert fsyncs[-1] is False
    executed: list[str] = []
    assert box._database._connection is not None
    box._database._connection.connection.driver_connection.set_trace_callback(executed.append)  # type: ignore[union-attr]
    getattr(box, end)()
    assert "PRAGMA wal_checkpoint(PASSIVE)" in executed
    box.flush()
    assert len([one for one in executed if "checkpoint" in one]) == 1
    # The pool gets its connection back in its usual mode.
    box.close()
    assert level() == 2


@sqlite
def test_an_app_that_has_switched_fsync_off_keeps_it_off(quiet: Flask, put: Put) -> None:
    def lower(driver: Any, _: Any) -> None:
        driver.execute("PRAGMA synchronous = OFF")

    engine = sa.create_engine(db.engine.url)
    sa.event.listen(engine, "connect", lower)
    box = Outbox(engine, "host:1")
    put()
    batch = box.claim()
    assert batch is not None
    (email,) = batch.open.values()
    box.settle_sent(batch, email, make_try())
    with box._database.begin() as current:
        assert current.exec_driver_sql("PRAGMA synchronous").scalar_one() == 0
    box.close()
    engine.dispose()
