"""What counts as work in progress, so that an email joins it, and what does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy

from flask_outbox import Mail, send_email

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flask import Flask

WRITES = "CREATE FUNCTION grow() RETURNS integer LANGUAGE sql AS $$ INSERT INTO \"user\" (name) VALUES ('x') RETURNING id $$"


def send() -> None:
    send_email("a@b.example", "Hi", "hello", name="susan")


def add(db: Any, name: str) -> Any:
    user = db.User(name=name)
    db.session.add(user)
    db.session.commit()
    db.session.refresh(user)
    return user


@pytest.fixture
def db(flask_sqlalchemy_host: tuple[Flask, Any]) -> Any:
    return flask_sqlalchemy_host[1]


@pytest.fixture
def on_postgresql(make_flask: Callable[..., Flask], postgresql_url: str) -> Iterator[Any]:
    app = make_flask(SQLALCHEMY_DATABASE_URI=postgresql_url)
    db = SQLAlchemy(app)
    db.User = type("User", (db.Model,), {"id": db.Column(db.Integer, primary_key=True), "name": db.Column(db.String(50))})
    Mail(app)
    with app.app_context():
        db.create_all()
        with db.engine.begin() as connection:
            connection.execute(sa.text(WRITES))
            connection.execute(sa.text("INSERT INTO \"user\" (name) VALUES ('susan')"))
        yield db
        db.session.remove()
        db.engine.dispose()


READS: dict[str, Callable[[Any], object]] = {
    "nothing": lambda db: None,
    "a query": lambda db: db.session.scalars(sa.select(db.User)).all(),
    "a SELECT as text": lambda db: db.session.execute(sa.text('SELECT * FROM "user"')).all(),
    "words that only look like a change": lambda db: db.session.execute(sa.text("SELECT 'UPDATE', 'DELETE' AS \"insert\"")),
    "a committed change": lambda db: add(db, "x").name,
    "a change that was rolled back": lambda db: (db.session.add(db.User(name="x")), db.session.flush(), db.session.rollback()),
    "an object set to what it was": lambda db: setattr(add(db, "susan"), "name", "susan"),
}
WORK: dict[str, Callable[[Any], object]] = {
    "a new object": lambda db: db.session.add(db.User(name="x")),
    "a flushed object": lambda db: (db.session.add(db.User(name="x")), db.session.flush()),
    "an INSERT of Core": lambda db: db.session.execute(sa.insert(db.User).values(name="x")),
    "an INSERT as text": lambda db: db.session.execute(sa.text("INSERT INTO \"user\" (name) VALUES ('x')")),
    "an INSERT on the connection": lambda db: db.session.connection().execute(sa.insert(db.User).values(name="x")),
    "an INSERT with a comment and WITH": lambda db: db.session.execute(
        sa.text("/* SELECT */ INSERT INTO \"user\" (name) WITH one AS (SELECT 'x') SELECT * FROM one")
    ),
    "an INSERT with RETURNING": lambda db: db.session.execute(
        sa.text("INSERT INTO \"user\" (name) VALUES ('x') RETURNING id")
    ).all(),
    "an explicit begin()": lambda db: db.session.begin(),
    "a savepoint": lambda db: db.session.begin_nested(),
}


@pytest.mark.parametrize("done", READS.values(), ids=READS)
def test_with_nothing_but_reads_an_email_is_committed_at_once(db: Any, in_outbox: Any, done: Callable[[Any], object]) -> None:
    done(db)
    send()
    db.session.rollback()
    assert in_outbox(db.engine) == ["a@b.example"]


@pytest.mark.parametrize("done", WORK.values(), ids=WORK)
def test_with_work_in_progress_an_email_joins_it(db: Any, in_outbox: Any, done: Callable[[Any], object]) -> None:
    done(db)
    send()
    db.session.rollback()
    assert in_outbox(db.engine) == []


POSTGRESQL_READS = [
    "SET LOCAL app.tenant = 'susan'",
    "SELECT set_config('app.tenant', 'susan', true)",
    "SELECT now(), txid_current_if_assigned()",
    "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "DECLARE c CURSOR FOR SELECT 1",
    "NOTIFY news, 'x'",
    "SELECT pg_notify('news', 'x')",
    "SELECT pg_advisory_xact_lock(1)",
    "SELECT pg_try_advisory_xact_lock_shared(1)",
]
POSTGRESQL_WORK = [
    "SELECT grow()",
    'SELECT * FROM "user" FOR UPDATE',
    'SELECT * FROM "user" FOR SHARE',
    "WITH new AS (INSERT INTO \"user\" (name) VALUES ('x') RETURNING id) SELECT * FROM new",
    "SELECT nextval('user_id_seq'), pg_current_xact_id()",
    "DO $$ BEGIN PERFORM grow(); END $$",
    "CREATE TABLE things (id integer)",
]


@pytest.mark.parametrize("statement", POSTGRESQL_READS)
def test_on_postgresql_settings_and_reads_are_no_work(on_postgresql: Any, in_outbox: Any, statement: str) -> None:
    on_postgresql.session.execute(sa.text(statement))
    send()
    on_postgresql.session.rollback()
    assert in_outbox(on_postgresql.engine) == ["a@b.example"]


@pytest.mark.parametrize("statement", POSTGRESQL_WORK)
def test_on_postgresql_whatever_writes_or_locks_is_work(on_postgresql: Any, in_outbox: Any, statement: str) -> None:
    on_postgresql.session.execute(sa.text(statement))
    send()
    on_postgresql.session.rollback()
    assert in_outbox(on_postgresql.engine) == []


@pytest.mark.parametrize("joins", [False, True])
def test_on_postgresql_begin_keeps_a_setting_and_a_lock_that_the_commit_of_an_email_would_end(
    on_postgresql: Any, in_outbox: Any, *, joins: bool
) -> None:
    session = on_postgresql.session
    if joins:
        session.begin()
    session.execute(sa.text("SELECT set_config('app.tenant', 'susan', true), pg_advisory_xact_lock(1)"))
    send()
    held = session.scalar(sa.text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"))
    tenant = session.scalar(sa.text("SELECT current_setting('app.tenant', true)"))
    assert (held, tenant or "") == ((1, "susan") if joins else (0, ""))
    session.commit()
    assert in_outbox(on_postgresql.engine) == ["a@b.example"]


def test_in_a_failed_transaction_postgresql_says_so_itself(on_postgresql: Any, in_outbox: Any) -> None:
    with pytest.raises(sa.exc.ProgrammingError):
        on_postgresql.session.execute(sa.text("SELECT * FROM nowhere"))
    with pytest.raises(sa.exc.InternalError, match="current transaction is aborted"):
        send()
    on_postgresql.session.rollback()
    send()
    assert in_outbox(on_postgresql.engine) == ["a@b.example"]


def test_a_locked_sqlite_says_so_in_sqlalchemy_s_words(make_flask: Callable[..., Flask], tmp_path: Path) -> None:
    options = {"connect_args": {"timeout": 0.1}}
    app = make_flask(SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / 'host.sqlite3'}", SQLALCHEMY_ENGINE_OPTIONS=options)
    db = SQLAlchemy(app)
    Mail(app)
    with app.app_context():
        db.create_all()
        with db.engine.connect() as other:
            other.exec_driver_sql("BEGIN IMMEDIATE")
            db.session.begin_nested()
            with pytest.raises(sa.exc.OperationalError, match="database is locked"):
                db.session.execute(sa.text("SELECT 1"))
        db.session.rollback()
        db.session.remove()
        db.engine.dispose()


def test_a_savepoint_that_is_rolled_back_takes_its_email_along(db: Any, in_outbox: Any) -> None:
    db.session.add(db.User(name="x"))
    savepoint = db.session.begin_nested()
    send()
    savepoint.rollback()
    send_email("b@b.example", "Hi", "hello", name="susan")
    db.session.commit()
    assert in_outbox(db.engine) == ["b@b.example"]
