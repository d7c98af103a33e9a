"""Settling on the driver itself: what Core would do, in one commit, and with what is left behind for others as it was."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_outbox import Attempt, Email
from flask_outbox.store import settlement
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


def test_a_lost_lease_changes_nothing_and_the_attempt_is_noted_all_the_same(box: Outbox, put: Put, statuses: Read) -> None:
    put()
    batch = box.claim()
    assert batch is not None
    box.release_lease(batch.token)
    (email,) = batch.open.values()
    assert not box.settle_sent(batch, email, make_try("sent"))
    assert statuses() == ["queued"]
    assert db.session.scalars(sa.select(Attempt.outcome)).all() == ["sent"]


def test_a_driver_that_fails_is_an_error_of_sqlalchemy_and_the_next_try_has_a_new_connection(
    box: Outbox, put: Put, statuses: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    put()
    batch = box.claim()
    assert batch is not None
    (email,) = batch.open.values()
    execute, away = settlement.Prepared.execute, [True]

    def fail_once(self: Any, cursor: Any, values: Any) -> int:
        if away:
            away.clear()
            raise db.engine.dialect.dbapi.OperationalError("away")  # type: ignore[union-attr]
        return execute(self, cursor, values)

    monkeypatch.setattr(settlement.Prepared, "execute", fail_once)
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
        with box._begin() as connection:
            connection.execute(sa.update(Email).values(status="held"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        hold_and_fail()
    assert statuses() == ["sent", "queued"]


@pytest.fixture
def levels(quiet: Flask, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether SQLite was told to wait for the disk, settle by settle; PostgreSQL always does."""
    seen: list[bool] = []
    synchronize = settlement._synchronize

    def note(connection: Any, *, fully: bool) -> None:
        seen.append(fully)
        synchronize(connection, fully=fully)
        cursor = connection.connection.cursor()
        assert cursor.execute("PRAGMA synchronous").fetchone() == (2 if fully else 1,)

    monkeypatch.setattr(settlement, "_synchronize", note)
    return seen


@sqlite
def test_sqlite_waits_for_the_disk_each_ten_milliseconds(
    box: Outbox, put: Put, levels: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settlement, "UNSYNCED", 60.0)
    for _ in range(5):
        put()
    batch = box.claim()
    assert batch is not None
    emails = list(batch.open.values())
    for email in emails[:3]:
        box.settle_sent(batch, email, make_try())
    monkeypatch.setattr(settlement, "UNSYNCED", 0.0)
    for email in emails[3:]:
        box.settle_sent(batch, email, make_try())
    assert levels == [False, True, False, False, True, True]  # the claim, then the settles


@sqlite
def test_an_email_that_comes_alone_waits_for_the_disk(box: Outbox, put: Put, levels: list[bool]) -> None:
    for _ in range(3):
        put()
        batch = box.claim()
        assert batch is not None
        (email,) = batch.open.values()
        time.sleep(settlement.UNSYNCED * 1.5)
        box.settle_sent(batch, email, make_try())
    assert levels == [False, True] * 3


@sqlite
@pytest.mark.parametrize("end", ["rest", "close"])
def test_the_last_of_a_rush_is_on_the_disk_when_it_is_over(box: Outbox, put: Put, levels: list[bool], end: str) -> None:
    for _ in range(3):
        put()
    batch = box.claim()
    assert batch is not None
    for email in list(batch.open.values()):
        box.settle_sent(batch, email, make_try())
    assert levels[-1] is False
    statements: list[str] = []
    assert box._connection is not None
    box._connection.connection.driver_connection.set_trace_callback(statements.append)  # type: ignore[union-attr]
    getattr(box, end)()
    assert "PRAGMA wal_checkpoint(PASSIVE)" in statements
    box.rest()
    assert len([one for one in statements if "checkpoint" in one]) == 1
    # The site gets its connection back as it was.
    box.close()
    assert level() == 2


@sqlite
def test_an_app_that_does_not_wait_for_the_disk_is_not_made_to(quiet: Flask, put: Put) -> None:
    def lower(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    engine = sa.create_engine(db.engine.url)
    sa.event.listen(engine, "connect", lower)
    box = Outbox(engine, "host:1")
    put()
    batch = box.claim()
    assert batch is not None
    (email,) = batch.open.values()
    box.settle_sent(batch, email, make_try())
    with box._begin() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 0
    box.close()
    engine.dispose()
