"""Tests of a host that join its session into an outer transaction, and roll that back behind each test."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from flask_outbox import Email, compose, enqueue, send_email
from flask_outbox.delivery.bells import Bell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask


@contextmanager
def engine_replaced(db: Any) -> Iterator[sa.Connection]:
    """Flask-SQLAlchemy's engine, replaced by a connection in a transaction."""
    engine = db.engine
    with engine.connect() as connection, connection.begin() as transaction:
        db.engines[None] = connection
        yield connection
        db.session.remove()
        transaction.rollback()
    db.engines[None] = engine


@contextmanager
def session_rebound(db: Any) -> Iterator[sa.Connection]:
    """db.session, replaced by one on a connection in a transaction."""
    before = db.session
    with db.engine.connect() as connection, connection.begin() as transaction:
        db.session = scoped_session(sessionmaker(bind=connection, join_transaction_mode="create_savepoint"))
        yield connection
        db.session.remove()
        transaction.rollback()
    db.session = before


RECIPES = [engine_replaced, session_rebound]


class CountingBell(Bell):
    def __init__(self) -> None:
        self.count = 0

    def ring(self) -> None:
        self.count += 1


@pytest.fixture(params=RECIPES, ids=lambda recipe: recipe.__name__)
def recipe(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    return request.param  # type: ignore[no-any-return]


def send(recipient: str = "a@b.example") -> Email:
    return send_email(recipient, "Hi", "hello", name="susan")


def test_an_email_is_recorded_and_gone_with_the_outer_transaction(
    flask_sqlalchemy_host: tuple[Flask, Any], recipe: Any, in_outbox: Any
) -> None:
    _, db = flask_sqlalchemy_host
    engine = db.engine
    with recipe(db) as connection:
        assert send().status == "queued"
        assert in_outbox(connection) == ["a@b.example"]
        assert [email.recipient for email in db.session.scalars(sa.select(Email))] == ["a@b.example"]
    assert in_outbox(engine) == []


def test_a_second_email_is_committed_in_the_savepoint_too(
    flask_sqlalchemy_host: tuple[Flask, Any], recipe: Any, in_outbox: Any
) -> None:
    app, db = flask_sqlalchemy_host
    app.extensions["mail"].bell = bell = CountingBell()
    engine = db.engine
    with recipe(db) as connection:
        send()
        assert db.session.scalars(sa.select(db.User)).all() == []
        send("b@b.example")
        assert bell.count == 2, "each was committed at once"
        db.session.close()
        assert in_outbox(connection) == ["a@b.example", "b@b.example"]
    assert in_outbox(engine) == []


def test_it_joins_what_the_view_has_in_progress(
    flask_sqlalchemy_host: tuple[Flask, Any], recipe: Any, in_outbox: Any, caplog: pytest.LogCaptureFixture
) -> None:
    app, db = flask_sqlalchemy_host
    app.extensions["mail"].bell = bell = CountingBell()
    engine = db.engine
    with recipe(db) as connection:
        db.session.add(db.User(name="susan"))
        db.session.flush()
        send()
        assert bell.count == 0
        db.session.commit()
        assert bell.count == 1
        db.session.execute(sa.insert(db.User).values(name="john"))
        send("b@b.example")
        assert bell.count == 1
        db.session.commit()
        assert in_outbox(connection) == ["a@b.example", "b@b.example"]
    assert in_outbox(engine) == []
    assert caplog.text == ""


CHANGES: dict[str, Callable[[Any], object]] = {
    "as text": lambda db: db.session.execute(sa.text("INSERT INTO \"user\" (name) VALUES ('john')")),
    "as text with RETURNING": lambda db: db.session.execute(
        sa.text("INSERT INTO \"user\" (name) VALUES ('john') RETURNING id")
    ).all(),
    "on the connection": lambda db: db.session.connection().execute(sa.insert(db.User).values(name="john")),
    "an update as text": lambda db: db.session.execute(sa.text("UPDATE \"user\" SET name = 'john'")),
    "a deletion as text": lambda db: db.session.execute(sa.text('DELETE FROM "user"')),
}
READS: dict[str, Callable[[Any], object]] = {
    "nothing": lambda db: None,
    "a SELECT as text": lambda db: db.session.execute(sa.text('SELECT * FROM "user"')).all(),
    "an update of no row": lambda db: db.session.execute(sa.text('UPDATE "user" SET name = name WHERE id = 0')),
}


def prepare(db: Any) -> None:
    """Store what a test would, so that the outer transaction has an id."""
    db.session.add(db.User(name="susan"))
    db.session.commit()


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_that_the_session_does_not_see_is_work_too(
    flask_sqlalchemy_host: tuple[Flask, Any], recipe: Any, in_outbox: Any, change: Callable[[Any], object]
) -> None:
    app, db = flask_sqlalchemy_host
    app.extensions["mail"].bell = bell = CountingBell()
    with recipe(db) as connection:
        prepare(db)
        change(db)
        send()
        assert bell.count == 0
        db.session.commit()
        assert bell.count == 1
        send("b@b.example")
        assert bell.count == 2, "the next transaction begins afresh"
        assert in_outbox(connection) == ["a@b.example", "b@b.example"]


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_with_nothing_but_reads_it_is_committed_at_once_there_too(
    flask_sqlalchemy_host: tuple[Flask, Any], recipe: Any, read: Callable[[Any], object]
) -> None:
    app, db = flask_sqlalchemy_host
    app.extensions["mail"].bell = bell = CountingBell()
    with recipe(db):
        prepare(db)
        read(db)
        send()
        assert bell.count == 1


def test_a_rollback_of_the_view_takes_its_email_and_leaves_what_the_test_prepared(
    flask_sqlalchemy_host: tuple[Flask, Any], in_outbox: Any
) -> None:
    _, db = flask_sqlalchemy_host
    with session_rebound(db) as connection:
        send("before@b.example")
        db.session.add(db.User(name="susan"))
        send()
        db.session.rollback()
        assert in_outbox(connection) == ["before@b.example"]


def test_it_works_through_requests_of_the_test_client(
    flask_sqlalchemy_host: tuple[Flask, Any], recipe: Any, in_outbox: Any
) -> None:
    app, db = flask_sqlalchemy_host

    def view() -> str:
        db.session.add(db.User(name="susan"))
        send()
        db.session.commit()
        return "done"

    app.add_url_rule("/", view_func=view)
    engine = db.engine
    with recipe(db) as connection:
        for _ in range(2):
            assert app.test_client().get("/").text == "done"
        assert in_outbox(connection) == ["a@b.example"] * 2
    assert in_outbox(engine) == []


def test_a_plain_session_on_a_connection_may_be_handed_over(flask_sqlalchemy_host: tuple[Flask, Any], in_outbox: Any) -> None:
    _, db = flask_sqlalchemy_host
    with db.engine.connect() as connection, connection.begin() as transaction:
        with Session(bind=connection) as session:
            for number in range(2):
                enqueue(compose(f"{number}@b.example", "Hi", "hello", name="susan"), session=session)
            session.add(db.User(name="susan"))
            enqueue(compose("2@b.example", "Hi", "hello", name="susan"), session=session)
            session.commit()
        assert in_outbox(connection) == ["0@b.example", "1@b.example", "2@b.example"]
        transaction.rollback()
    assert in_outbox(db.engine) == []


def test_a_key_is_found_again_inside_the_outer_transaction(flask_sqlalchemy_host: tuple[Flask, Any], recipe: Any) -> None:
    _, db = flask_sqlalchemy_host
    with recipe(db):
        (first,) = enqueue(compose("a@b.example", "Hi", "hello", name="susan"), key="once")
        (second,) = enqueue(compose("a@b.example", "Hi", "hello", name="susan"), key="once")
        assert first.id == second.id
