"""Several databases in one app: the outbox is in the default one, and work on any of them is work in progress."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, scoped_session, sessionmaker

from flask_outbox import ConfigurationError, Email, Mail, send_email

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flask import Flask


@pytest.fixture
def db(make_flask: Callable[..., Flask], sqlalchemy_url: str, tmp_path: Path) -> Iterator[Any]:
    app = make_flask(SQLALCHEMY_DATABASE_URI=sqlalchemy_url, SQLALCHEMY_BINDS={"other": f"sqlite:///{tmp_path / 'other.sqlite3'}"})
    db = SQLAlchemy(app)
    key = {"id": db.Column(db.Integer, primary_key=True)}
    db.User = type("User", (db.Model,), dict(key))
    db.Visit = type("Visit", (db.Model,), {"__bind_key__": "other", "id": db.Column(db.Integer, primary_key=True)})
    Mail(app)
    with app.app_context():
        db.create_all()
        yield db
        db.session.remove()
        for engine in db.engines.values():
            engine.dispose()


def visits(db: Any) -> int:
    with db.engines["other"].connect() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(db.Visit)))


def work(db: Any, how: str) -> None:
    match how:
        case "added":
            db.session.add(db.Visit())
        case "flushed":
            db.session.add(db.Visit())
            db.session.flush()
        case "text":
            db.session.execute(sa.text("INSERT INTO visit DEFAULT VALUES"), bind_arguments={"bind": db.engines["other"]})


@pytest.mark.parametrize("how", ["added", "flushed", "text"])
def test_a_rollback_of_work_on_another_bind_loses_the_email_too(db: Any, in_outbox: Any, how: str) -> None:
    work(db, how)
    send_email("a@b.example", "Hi", "hello", name="susan")
    db.session.rollback()
    assert (visits(db), in_outbox(db.engine)) == (0, [])


@pytest.mark.parametrize("how", ["added", "flushed", "text"])
def test_a_commit_stores_both(db: Any, in_outbox: Any, how: str) -> None:
    work(db, how)
    send_email("a@b.example", "Hi", "hello", name="susan")
    assert in_outbox(db.engine) == []
    db.session.commit()
    assert (visits(db), in_outbox(db.engine)) == (1, ["a@b.example"])


def test_the_outbox_s_tables_are_in_the_default_database_alone(db: Any) -> None:
    assert sa.inspect(db.engines["other"]).get_table_names() == ["visit"]


def test_without_a_default_database_it_says_so_in_one_sentence(make_flask: Callable[..., Flask]) -> None:
    app = make_flask(SQLALCHEMY_BINDS={"other": "sqlite://"})
    SQLAlchemy(app)
    with pytest.raises(
        ConfigurationError, match=r"the app has only others: configure a default one, or hand over the engine"
    ) as raised:
        Mail(app)
    assert len(raised.value.problems) == 1


def test_with_lite_it_says_the_same(make_flask: Callable[..., Flask]) -> None:
    from flask_sqlalchemy_lite import SQLAlchemy as Lite

    app = make_flask(SQLALCHEMY_ENGINES={"other": "sqlite://"})
    Lite(app, require_default_engine=False)
    with pytest.raises(ConfigurationError, match="the app has only others"):
        Mail(app)


def test_the_engine_of_another_bind_may_be_handed_over(make_flask: Callable[..., Flask], tmp_path: Path, in_outbox: Any) -> None:
    app = make_flask(SQLALCHEMY_BINDS={"mail": f"sqlite:///{tmp_path / 'mail.sqlite3'}"})
    db = SQLAlchemy(app)
    with app.app_context():
        engine = db.engines["mail"]
        Mail(app, db=engine, metadata=db.metadatas["mail"])
        db.create_all("mail")
        send_email("a@b.example", "Hi", "hello", name="susan")
        assert in_outbox(engine) == ["a@b.example"]
        engine.dispose()


def test_a_session_with_an_engine_for_each_base_is_joined(
    make_flask: Callable[..., Flask], make_engine: Any, sqlalchemy_url: str, tmp_path: Path, in_outbox: Any
) -> None:
    """SQLAlchemy's own way to spell several binds: no default, and the outbox named among them."""

    class Base(DeclarativeBase):
        pass

    class Visit(Base):
        __tablename__ = "visits"
        id: Mapped[int] = mapped_column(primary_key=True)

    default, other = make_engine(sqlalchemy_url), make_engine(f"sqlite:///{tmp_path / 'other.sqlite3'}")
    Email.metadata.create_all(default)
    Base.metadata.create_all(other)
    current = scoped_session(sessionmaker(default, binds={Base: other}))
    app = make_flask()
    Mail(app, db=current)
    with app.app_context():
        current.add(Visit())
        current.flush()
        send_email("a@b.example", "Hi", "hello", name="susan")
        current.rollback()
        assert in_outbox(default) == []
        current.add(Visit())
        send_email("b@b.example", "Hi", "hello", name="susan")
        current.commit()
        current.remove()
    with Session(other) as session:
        assert len(session.scalars(sa.select(Visit)).all()) == 1
    assert in_outbox(default) == ["b@b.example"]
