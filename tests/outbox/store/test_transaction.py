"""The email and the caller's transaction: together or not at all."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_outbox import Email, Message, enqueue
from flasky.extensions import db
from flasky.mail import mail
from flasky.models import User
from tests.outbox.standing import database_url, emptied, standing_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask


class Bell:
    """Notes, at each ring, how many emails another connection can see."""

    def __init__(self, app: Flask) -> None:
        self.app, self.heard = app, []

    def ring(self) -> None:
        with db.engine.connect() as connection:
            self.heard.append(connection.scalar(sa.text("SELECT count(*) FROM mail_email")))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def standing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    with standing_app(database_url(request, tmp_path_factory.mktemp("transaction"))) as app:
        yield app


@pytest.fixture
def app(standing: Flask) -> Iterator[Flask]:
    with emptied(standing):
        db.session.add(User(username="old"))
        db.session.commit()
        yield standing


@pytest.fixture
def bell(app: Flask) -> Bell:
    app.extensions["mail"].bell = bell = Bell(app)
    return bell


def message(subject: str = "Hi") -> Message:
    return Message(subject, ["a@b.example"], "text")


@contextmanager
def undone_savepoint() -> Iterator[None]:
    savepoint = db.session.begin_nested()
    yield
    savepoint.rollback()


def stored() -> int:
    """Count the emails that have been committed, over a connection of its own."""
    with db.engine.connect() as connection:
        return int(connection.scalar(sa.text("SELECT count(*) FROM mail_email")))


def old() -> User:
    return db.session.scalars(sa.select(User).where(User.username == "old")).one()


def pending() -> None:
    db.session.add(User(username="new"))


def flushed() -> None:
    db.session.add(User(username="new"))
    db.session.flush()


def changed() -> None:
    old().username = "renamed"


def changed_and_flushed() -> None:
    old().username = "renamed"
    db.session.flush()


def deleted() -> None:
    db.session.delete(old())


def orm_update() -> None:
    db.session.execute(sa.update(User).values(username="renamed"))


def core_insert() -> None:
    db.session.execute(sa.insert(User.__table__).values(username="new", is_admin=False))


def text_delete() -> None:
    db.session.execute(sa.text("  -- a comment\n DELETE FROM users"))


def on_the_connection() -> None:
    db.session.connection().execute(sa.text("UPDATE users SET username = 'renamed'"))


def on_the_driver() -> None:
    db.session.connection().exec_driver_sql("UPDATE users SET username = 'renamed'")


def with_statement() -> None:
    # SQLite's driver would run it outside of the transaction.
    insert = "INSERT INTO users (username, is_admin) VALUES ('new', false)"
    if db.engine.dialect.name == "postgresql":
        insert = f"WITH new AS ({insert} RETURNING id) SELECT * FROM new"
    db.session.execute(sa.text(insert))


def begun() -> None:
    db.session.begin()


def locked() -> None:
    db.session.scalars(sa.select(User).with_for_update()).all()
    if db.engine.dialect.name == "sqlite":  # which has no such lock, and leaves the words out
        flushed()


def released_savepoint() -> None:
    with db.session.begin_nested():
        db.session.add(User(username="new"))


WORK = [
    pending, flushed, changed, changed_and_flushed, deleted, orm_update, core_insert, text_delete, on_the_connection, on_the_driver,
    with_statement, begun, locked, released_savepoint,
]  # fmt: skip


@pytest.mark.parametrize("work", WORK)
@pytest.mark.parametrize("key", [None, "k"])
def test_it_joins_whatever_is_in_progress(bell: Bell, work: Callable[[], None], key: str | None) -> None:
    work()
    (email,) = enqueue(message(), key=key)
    assert stored() == 0
    assert bell.heard == []
    db.session.commit()
    assert stored() == 1
    assert bell.heard == [1]
    assert email.id


@pytest.mark.parametrize("work", WORK)
@pytest.mark.parametrize("key", [None, "k"])
def test_a_rollback_leaves_no_row_of_either(bell: Bell, work: Callable[[], None], key: str | None, caplog: Any) -> None:
    work()
    enqueue(message(), key=key)
    db.session.rollback()
    assert (stored(), bell.heard) == (0, [])
    assert db.session.scalars(sa.select(User.username)).all() == ["old"]
    assert caplog.messages == []


@pytest.mark.parametrize("work", WORK)
@pytest.mark.parametrize("flush", [False, True])
def test_a_forgotten_commit_is_reported(bell: Bell, work: Callable[[], None], caplog: Any, *, flush: bool) -> None:
    work()
    enqueue(message())
    if flush:
        db.session.flush()
    with caplog.at_level(logging.ERROR):
        db.session.remove()
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "1 email joined a transaction that was never committed" in record.message
    assert (stored(), bell.heard) == (0, [])


def test_a_released_savepoint_is_no_commit(bell: Bell, caplog: Any) -> None:
    with db.session.begin_nested():
        enqueue(message())
        with db.session.begin_nested():
            flushed()
    db.session.remove()
    assert "1 email joined a transaction that was never committed" in caplog.text
    assert (stored(), bell.heard) == (0, [])


def test_with_two_emails_both_are_counted(bell: Bell, caplog: Any) -> None:
    pending()
    enqueue(message())
    enqueue(Message("Hi", ["c@b.example", "d@b.example"], "text"))
    db.session.close()
    assert "3 emails joined" in caplog.text


def nothing() -> None:
    pass


def read() -> None:
    assert old().username == "old"


def read_by_text() -> None:
    db.session.execute(sa.text("/* a comment */ select * from users")).all()


def read_with() -> None:
    if db.engine.dialect.name == "postgresql":
        db.session.execute(sa.text("WITH one AS (SELECT * FROM users) SELECT * FROM one")).all()
    db.session.execute(sa.text("(SELECT username FROM users)" if db.engine.dialect.name == "postgresql" else "VALUES (1)")).all()


def touched_but_not_changed() -> None:
    one = old()
    one.username = "old"


def after_a_commit() -> None:
    flushed()
    db.session.commit()


def after_a_rollback() -> None:
    flushed()
    db.session.rollback()


def after_a_read_only_savepoint() -> None:
    read()
    with db.session.begin_nested():
        read()


@pytest.mark.parametrize(
    "work",
    [
        nothing,
        read,
        read_by_text,
        read_with,
        touched_but_not_changed,
        after_a_commit,
        after_a_rollback,
        after_a_read_only_savepoint,
    ],
)
@pytest.mark.parametrize("key", [None, "k"])
def test_with_nothing_pending_it_commits_by_itself(bell: Bell, work: Callable[[], None], key: str | None) -> None:
    work()
    (email,) = enqueue(message(), key=key)
    assert stored() == 1
    assert bell.heard == [1]
    assert email.id
    db.session.rollback()
    assert stored() == 1


def test_committing_by_itself_leaves_what_was_only_read_as_it_is(bell: Bell) -> None:
    one = old()
    enqueue(message())
    assert not sa.inspect(one).expired
    assert one.username == "old"
    db.session.commit()
    assert sa.inspect(one).expired, "and the session's own commits go on as they were"


def test_what_failed_to_be_stored_by_itself_leaves_the_session_usable(bell: Bell) -> None:
    with db.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE mail_email RENAME TO away"))
    with pytest.raises(sa.exc.DBAPIError):
        enqueue(message())
    with db.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE away RENAME TO mail_email"))
    assert old().username == "old"
    assert db.session().expire_on_commit


def test_inside_begin_it_waits_for_the_end(bell: Bell) -> None:
    with db.session.begin():
        enqueue(message())
        assert stored() == 0
    assert (stored(), bell.heard) == (1, [1])
    with pytest.raises(KeyError), db.session.begin():  # noqa: PT012 - what is in it matters
        enqueue(message())
        raise KeyError
    assert (stored(), bell.heard) == (1, [1])


def test_inside_a_savepoint_it_waits_for_the_outermost_end(bell: Bell) -> None:
    with db.session.begin_nested():
        enqueue(message())
    assert (stored(), bell.heard) == (0, [])
    db.session.commit()
    assert (stored(), bell.heard) == (1, [1])


@pytest.mark.parametrize("key", [None, "k"])
def test_a_released_savepoint_does_not_survive_a_rollback(bell: Bell, key: str | None) -> None:
    with db.session.begin_nested():
        db.session.add(User(username="new"))
        enqueue(message(), key=key)
    db.session.rollback()
    assert (stored(), bell.heard) == (0, [])
    assert db.session.scalars(sa.select(User.username)).all() == ["old"]


@pytest.mark.parametrize("key", [None, "k"])
def test_a_rolled_back_savepoint_takes_its_email_along_and_no_other(bell: Bell, key: str | None, caplog: Any) -> None:
    with mail.record_messages() as recorded:
        pending()
        enqueue(message("kept"), key=key)
        with undone_savepoint():
            enqueue(message("gone"), key=key and "other")
        db.session.commit()
    assert (stored(), bell.heard) == (1, [1])
    assert db.session.scalars(sa.select(Email)).one().subject == "kept"
    assert [one.subject for one in recorded] == ["kept"]
    assert caplog.messages == []


@pytest.mark.parametrize("key", [None, "k"])
def test_where_only_a_rolled_back_savepoint_had_an_email_nothing_rings(bell: Bell, key: str | None, caplog: Any) -> None:
    pending()
    with undone_savepoint():
        enqueue(message(), key=key)
    db.session.commit()
    assert (stored(), bell.heard) == (0, [])
    assert caplog.messages == []


def test_a_rolled_back_savepoint_and_a_forgotten_commit_report_what_was_left(bell: Bell, caplog: Any) -> None:
    pending()
    with undone_savepoint():
        enqueue(message())
    db.session.remove()
    assert caplog.messages == []


def test_the_bell_rings_once_for_a_commit_with_many_emails_and_savepoints(bell: Bell) -> None:
    pending()
    for number in range(3):
        with db.session.begin_nested():
            enqueue(message())
            with db.session.begin_nested():
                enqueue(message(), key=str(number))
        enqueue(message())
    db.session.commit()
    assert bell.heard == [9]
    db.session.commit()
    assert bell.heard == [9]


def test_a_commit_without_email_does_not_ring(bell: Bell) -> None:
    pending()
    db.session.commit()
    assert bell.heard == []


def test_a_session_that_forgot_its_objects_rings_all_the_same(bell: Bell, caplog: Any) -> None:
    pending()
    enqueue(message())
    db.session.flush()
    db.session.expunge_all()
    db.session.commit()
    assert (stored(), bell.heard) == (1, [1])
    assert caplog.messages == []


def test_a_rollback_of_forgotten_objects_is_no_forgotten_commit(bell: Bell, caplog: Any) -> None:
    pending()
    enqueue(message())
    db.session.flush()
    db.session.expunge_all()
    db.session.rollback()
    assert (stored(), bell.heard, caplog.messages) == (0, [], [])


def test_a_commit_that_fails_leaves_nothing_and_does_not_ring(bell: Bell) -> None:
    db.session.add(User(username="old"))
    enqueue(message())
    with pytest.raises(sa.exc.IntegrityError):
        db.session.commit()
    db.session.rollback()
    assert (stored(), bell.heard) == (0, [])


def test_what_the_bell_raises_does_not_escape_from_a_commit_that_succeeded(app: Flask, caplog: Any) -> None:
    class Broken:
        def ring(self) -> None:
            raise RuntimeError

    app.extensions["mail"].bell = Broken()
    pending()
    enqueue(message())
    db.session.commit()
    enqueue(message())
    assert stored() == 2
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


def test_after_one_transaction_the_next_begins_afresh(bell: Bell) -> None:
    pending()
    enqueue(message())
    db.session.rollback()
    enqueue(message())
    assert (stored(), bell.heard) == (1, [1])


def test_messages_are_recorded_only_once_they_are_committed(bell: Bell) -> None:
    with mail.record_messages() as recorded:
        pending()
        enqueue(message("one"))
        assert recorded == []
        db.session.rollback()
        assert recorded == []
        enqueue(message("two"))
        assert [one.subject for one in recorded] == ["two"]
        pending()
        enqueue(message("three"))
        db.session.commit()
        enqueue(message("four"), key="k")
        enqueue(message("five"), key="k")
    assert [one.subject for one in recorded] == ["two", "three", "four"]
