"""What the server has accepted is recorded, whatever the database does, and is never given to another connection."""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_outbox import Attempt, Message, enqueue
from flask_outbox.store import lease, recorder
from flask_outbox.store.models import Health
from flask_outbox.store.outbox import Outbox, Try
from flask_outbox.store.recorder import Acceptances
from flasky.extensions import db
from tests.servers import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flask import Flask

    from flask_outbox.testing import SmtpServer

pytestmark = pytest.mark.usefixtures("quiet")
sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
Put, Read = "Callable[..., Email]", "Callable[[], Any]"
ACCEPTED = Try(datetime(2026, 11, 25, tzinfo=UTC), 0.1, "sent", 250, "2.0.0", "2.0.0 accepted")


@pytest.fixture
def make_box(quiet: Flask) -> Iterator[Callable[..., Outbox]]:
    """A function that makes an outbox; those with the same acceptances are of one process."""
    made: list[Outbox] = []

    def make(acceptances: Acceptances | None = None, engine: sa.Engine | None = None) -> Outbox:
        made.append(Outbox(engine or db.engine, "host:1", acceptances=acceptances))
        return made[-1]

    yield make
    for box in made:
        box.close()


class Attempts:
    """The table of attempts, which is away for a while."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def hide(self) -> None:
        self._rename("mail_attempt", "elsewhere")

    def show(self) -> None:
        self._rename("elsewhere", "mail_attempt")

    def _rename(self, old: str, new: str) -> None:
        with self._engine.begin() as connection:
            connection.execute(sa.text(f"ALTER TABLE {old} RENAME TO {new}"))

    def hide_on_acceptance(self, session: Any, usual: str) -> None:
        """Answer to a message: accept it, but not before the table is away."""
        self.hide()
        session.say(usual)


@pytest.fixture
def attempts(quiet: Flask) -> Attempts:
    return Attempts(db.engine)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "FIRST_RETRY", 0.02)


def end_pause() -> None:
    with db.engine.begin() as connection:
        connection.execute(sa.update(Health).values(next_try_at=datetime.now(UTC)))
    db.session.rollback()


def test_an_acceptance_that_cannot_be_recorded_at_first_is_no_copy(
    smtp: SmtpServer, put: Put, deliver: Read, statuses: Read, outcomes: Read, attempts: Attempts, caplog: Any
) -> None:
    put()
    put("c@example.com")
    smtp.on("DOT", attempts.hide_on_acceptance)
    back = threading.Timer(0.6, attempts.show)
    back.start()
    try:
        assert deliver() == 2
    finally:
        back.join()
    assert statuses() == ["sent", "sent"]
    assert [one.recipient for one in smtp.accepted] == ["b@example.com", "c@example.com"]
    assert outcomes() == [("sent", 250)] * 2
    assert "the database cannot record it" in caplog.text


def test_an_acceptance_outlives_the_lease(
    smtp: SmtpServer, put: Put, deliver: Read, statuses: Read, attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE", timedelta(seconds=0.2))
    put()
    smtp.on("DOT", attempts.hide_on_acceptance)
    back = threading.Timer(1, attempts.show)
    back.start()
    try:
        deliver()
    finally:
        back.join()
    assert statuses() == ["sent"]
    assert len(smtp.accepted) == 1


def test_without_a_table_of_attempts_an_acceptance_is_recorded_alone_and_nothing_more_is_sent(
    smtp: SmtpServer, put: Put, deliver: Read, statuses: Read, attempts: Attempts, quiet: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "FAILURES_WITH_ATTEMPT", 2)
    put("1@example.com")
    put("2@example.com")
    smtp.on("DOT", attempts.hide_on_acceptance)
    assert deliver() == 1
    deliver()
    assert statuses() == ["sent", "queued"]
    assert len(smtp.accepted) == 1
    result = quiet.test_cli_runner().invoke(args=["mail", "health"])
    assert result.exit_code == 1
    assert "the outbox has no tables yet" in result.stderr
    attempts.show()
    end_pause()
    deliver()
    assert statuses() == ["sent", "sent"]
    assert sorted(one.recipient for one in smtp.accepted) == ["1@example.com", "2@example.com"]
    assert quiet.test_cli_runner().invoke(args=["mail", "health"]).exit_code == 0


def test_what_cannot_be_recorded_is_not_sent_at_all(
    smtp: SmtpServer, put: Put, deliver: Read, statuses: Read, attempts: Attempts, quiet: Flask, caplog: Any
) -> None:
    put()
    attempts.hide()
    deliver()
    deliver()
    assert statuses() == ["queued"]
    assert smtp.accepted == []
    assert "the database cannot record what is sent, so nothing is sent" in caplog.text
    assert "mail_attempt" in db.session.scalars(sa.select(Health.reason)).one()
    result = quiet.test_cli_runner().invoke(args=["mail", "deliver"])
    assert result.exit_code == 1
    assert "the database cannot record what is sent" in result.stderr
    attempts.show()
    end_pause()
    assert deliver() == 1
    assert statuses() == ["sent"]


def test_a_rehearsal_changes_nothing(make_box: Any, put: Put, statuses: Read, outcomes: Read) -> None:
    box = make_box()
    assert not box.rehearse()
    assert not box.acceptances.can_record
    email = put(secret=True)
    assert box.rehearse()
    assert box.acceptances.can_record
    assert statuses() == ["queued"]
    assert outcomes() == []
    db.session.refresh(email)
    db.session.refresh(email.content)
    assert (email.lease, email.lease_until, email.reply, email.finished_at) == (None, None, None, None)
    assert email.content.source is not None


@postgresql
def test_a_database_that_is_read_only_for_a_while_makes_no_copy(smtp: SmtpServer, put: Put, deliver: Read, statuses: Read) -> None:
    """As after a failover to a replica: 25006, on each new connection."""
    engine, name = sa.create_engine(db.engine.url, poolclass=sa.NullPool), db.engine.url.database

    def set_read_only(how: str) -> None:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text("SET default_transaction_read_only = off"))
            connection.execute(sa.text(f"ALTER DATABASE {name} SET default_transaction_read_only = {how}"))
            kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid != pg_backend_pid() AND datname = :name"
            connection.execute(sa.text(kill), {"name": name})

    def fail_over(session: Any, usual: str) -> None:
        set_read_only("on")
        session.say(usual)
        session.wait(0.5)
        set_read_only("off")

    put()
    smtp.on("DOT", fail_over)
    deliver()
    wait_until(lambda: statuses() == ["sent"])
    assert len(smtp.accepted) == 1


def test_nobody_in_the_process_releases_or_recovers_what_is_being_recorded(
    make_box: Any, put: Put, statuses: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE", timedelta(0))
    acceptances = Acceptances()
    box, other, stranger = make_box(acceptances), make_box(acceptances), make_box()
    put()
    batch = box.claim()
    (email,) = batch.open.values()
    acceptances.begin(email.id, ACCEPTED)
    assert other.recover() == 0
    other.release_lease(batch.token)
    assert statuses() == ["sending"]
    acceptances.end(email.id, is_recorded=False)
    other.release_lease(batch.token)
    assert statuses() == ["sending"]
    assert stranger.recover() == 1


def test_what_this_process_knows_to_be_accepted_is_recorded_instead_of_sent_again(
    smtp: SmtpServer, make_box: Any, put: Put, quiet: Flask, statuses: Read, outcomes: Read
) -> None:
    state = quiet.extensions["mail"]
    email = put()
    state._acceptances.begin(email.id, ACCEPTED)
    state._acceptances.end(email.id, is_recorded=False)
    assert state.deliver() == 1
    assert statuses() == ["sent"]
    assert outcomes() == [("sent", 250)]
    assert smtp.accepted == []
    assert state._acceptances.known == []


def test_a_commit_whose_answer_was_lost_is_not_taken_for_a_lost_lease(
    make_box: Any, put: Put, statuses: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    put()
    box = make_box()
    batch = box.claim()
    (email,) = batch.open.values()
    write, lost = recorder.Recorder._write_once, [True]

    def lose_answer(self: Any, *arguments: Any) -> bool:
        result = write(self, *arguments)
        if lost:
            lost.clear()
            raise sa.exc.OperationalError("COMMIT", {}, OSError("connection lost"))
        return result

    monkeypatch.setattr(recorder.Recorder, "_write_once", lose_answer)
    assert box.settle_sent(batch, email, ACCEPTED)
    assert statuses() == ["sent"]
    assert box.acceptances.known == []


def test_a_process_that_must_exit_tries_only_once_more(make_box: Any, put: Put, statuses: Read, attempts: Attempts) -> None:
    put()
    box = make_box()
    batch = box.claim()
    (email,) = batch.open.values()
    attempts.hide()
    threading.Timer(0.2, box.give_up).start()
    with pytest.raises(sa.exc.DBAPIError):
        box.settle_sent(batch, email, ACCEPTED)
    box.release(batch)
    # Its lease expires by itself.
    assert statuses() == ["sending"]


# The lease


def test_an_expired_lease_is_renewed_as_long_as_nobody_has_recovered_it(
    make_box: Any, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE", timedelta(0))
    put()
    box = make_box()
    batch = box.claim()
    box.guard(batch)
    assert make_box().recover() == 1
    with pytest.raises(lease.LeaseLost):
        box.guard(batch)


def test_what_a_hung_delivery_has_not_begun_is_released_and_the_rest_stays_its_own(
    make_box: Any, put: Put, statuses: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        put()
    box, other = make_box(), make_box()
    batch = box.claim()
    first, second, third = batch.open.values()
    assert batch.begin(first)
    box.release_unbegun(batch)
    assert statuses() == ["sending", "queued", "queued"]
    assert not batch.begin(second)
    monkeypatch.setattr(lease, "LEASE", timedelta(0))
    box.guard(batch)
    assert list(other.claim().open) == [second.id, third.id]
    box.release(batch)
    assert statuses() == ["queued", "sending", "sending"]


# Secret messages


def put_secret(recipients: int = 2) -> None:
    names = [f"{number}@example.com" for number in range(recipients)]
    enqueue(Message("reset", names, "the-token-nobody-may-read " * 500, sender="a@example.com"), secret=True)


@postgresql
@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_the_last_two_recipients_of_a_secret_at_one_moment_erase_it(
    make_box: Any, statuses: Read, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_secret()
    engine = db.engine.execution_options(isolation_level=level)
    boxes = [make_box(engine=engine), make_box(engine=engine)]
    batches = [box.claim(1) for box in boxes]
    both_have_settled = threading.Barrier(2)
    erase = recorder.erase_secret

    def erase_together(connection: Any, content_id: int) -> None:
        with suppress(threading.BrokenBarrierError):
            both_have_settled.wait(1)
        erase(connection, content_id)

    monkeypatch.setattr(recorder, "erase_secret", erase_together)

    def settle(box: Outbox, batch: Any) -> None:
        (email,) = batch.open.values()
        box.settle_sent(batch, email, ACCEPTED)

    threads = [threading.Thread(target=settle, args=pair) for pair in zip(boxes, batches, strict=True)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(20)
    assert statuses() == ["sent", "sent"]
    assert db.session.scalar(sa.text("SELECT source FROM mail_content")) is None
    assert db.session.scalar(sa.select(sa.func.count(Attempt.id))) == 2


@sqlite
def test_an_erased_secret_is_overwritten_in_the_file(make_box: Any, tmp_path: Path) -> None:
    put_secret(1)
    enqueue(Message("hi", ["b@example.com"], "nothing secret", sender="a@example.com"), send_at=datetime(2030, 1, 1, tzinfo=UTC))
    db.session.commit()
    with db.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").all()
    file = tmp_path / "test.sqlite3"
    assert b"the-token-nobody-may-read" in file.read_bytes()
    box = make_box()
    batch = box.claim()
    (email,) = batch.open.values()
    with box._database.begin() as connection:
        connection.exec_driver_sql("PRAGMA secure_delete = OFF").all()
    box.settle_sent(batch, email, ACCEPTED)
    box.close()
    with db.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").all()
    assert b"the-token-nobody-may-read" not in file.read_bytes()
    assert b"nothing secret" in file.read_bytes()
