"""An email joins the transaction of whatever session the host uses: both are stored, or neither."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column, scoped_session, sessionmaker

from flask_outbox import Email, Mail, Message, compose, enqueue, send_email

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask

    from flask_outbox.testing import SmtpServer

NAMING = {
    "ix": "i_%(column_0_label)s",
    "uq": "u_%(table_name)s_%(column_0_name)s",
    "ck": "c_%(table_name)s_%(constraint_name)s",
    "fk": "f_%(table_name)s_%(column_0_name)s",
    "pk": "p_%(table_name)s",
}


class Host:
    """What the tests need to know of a host: its session, its engine, its model, and how to make the tables."""

    def __init__(self, app: Flask, mail: Mail, session: Any, engine: sa.Engine, user: Any, metadata: sa.MetaData) -> None:
        self.app, self.mail, self._session, self.engine, self.user = app, mail, session, engine, user
        metadata.create_all(engine)

    @property
    def session(self) -> Any:
        return self._session()


def make_user(base: Any) -> Any:
    columns = {"id": mapped_column(sa.Integer, primary_key=True), "name": mapped_column(sa.String(50))}
    return type("User", (base,), {"__tablename__": "users", **columns})


def with_db_model(app: Flask, url: str) -> Iterator[Host]:
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db = SQLAlchemy(app)
    mail = Mail(app)
    with app.app_context():
        yield Host(app, mail, lambda: db.session, db.engine, make_user(db.Model), db.metadata)
        db.session.remove()
        db.engine.dispose()


def with_own_base(app: Flask, url: str) -> Iterator[Host]:
    class Base(DeclarativeBase):
        pass

    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db = SQLAlchemy(model_class=Base)
    db.init_app(app)
    mail = Mail()
    mail.init_app(app)
    with app.app_context():
        yield Host(app, mail, lambda: db.session, db.engine, make_user(db.Model), Base.metadata)
        db.session.remove()
        db.engine.dispose()


def with_foreign_base(app: Flask, url: str) -> Iterator[Host]:
    """Models on a base that Flask-SQLAlchemy does not know, used through its session."""

    class Base(DeclarativeBase):
        pass

    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db = SQLAlchemy(app)
    mail = Mail(app, metadata=Base.metadata)
    with app.app_context():
        yield Host(app, mail, lambda: db.session, db.engine, make_user(Base), Base.metadata)
        db.session.remove()
        db.engine.dispose()


def with_naming_convention(app: Flask, url: str) -> Iterator[Host]:
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db = SQLAlchemy(app, metadata=sa.MetaData(naming_convention=NAMING))
    mail = Mail(app)
    with app.app_context():
        yield Host(app, mail, lambda: db.session, db.engine, make_user(db.Model), db.metadata)
        db.session.remove()
        db.engine.dispose()


def with_lite(app: Flask, url: str) -> Iterator[Host]:
    from flask_sqlalchemy_lite import SQLAlchemy as Lite

    class Model(DeclarativeBase):
        pass

    app.config["SQLALCHEMY_ENGINES"] = {"default": url}
    db = Lite(app)
    mail = Mail(app, metadata=Model.metadata)
    with app.app_context():
        yield Host(app, mail, lambda: db.session, db.engine, make_user(Model), Model.metadata)
        db.session.close()
        db.engine.dispose()


def with_scoped_session(app: Flask, url: str) -> Iterator[Host]:
    class Base(DeclarativeBase):
        pass

    engine = sa.create_engine(url)
    current = scoped_session(sessionmaker(engine))
    mail = Mail(app, db=current, metadata=Base.metadata)
    with app.app_context():
        yield Host(app, mail, current, engine, make_user(Base), Base.metadata)
    current.remove()
    engine.dispose()


HOSTS = [with_db_model, with_own_base, with_foreign_base, with_naming_convention, with_lite, with_scoped_session]


@pytest.fixture(params=HOSTS, ids=lambda host: host.__name__)
def host(request: pytest.FixtureRequest, make_flask: Callable[..., Flask], sqlalchemy_url: str) -> Iterator[Host]:
    yield from request.param(make_flask(), sqlalchemy_url)


def test_an_email_is_committed_with_the_host_s_own_row(host: Host, smtp: SmtpServer, in_outbox: Any) -> None:
    host.session.add(host.user(name="susan"))
    send_email("a@b.example", "Hi", "hello", name="susan")
    assert in_outbox(host.engine) == []
    host.session.commit()
    assert in_outbox(host.engine) == ["a@b.example"]
    assert host.mail.deliver() == 1
    assert "Hello susan!" in smtp.accepted[0].source.decode()
    host.session.expire_all()
    assert host.session.scalars(sa.select(Email.status)).all() == ["sent"]


def test_a_rollback_loses_the_email_with_the_row(host: Host, in_outbox: Any) -> None:
    host.session.add(host.user(name="susan"))
    host.session.flush()
    send_email("a@b.example", "Hi", "hello", name="susan")
    host.session.rollback()
    send_email("b@b.example", "Hi", "hello", name="john")
    host.session.rollback()
    assert in_outbox(host.engine) == ["b@b.example"], "with nothing in progress an email is committed at once"
    assert host.session.scalars(sa.select(host.user)).all() == []


def test_a_session_that_ends_without_a_commit_loses_both_and_says_so(
    host: Host, in_outbox: Any, caplog: pytest.LogCaptureFixture
) -> None:
    host.session.add(host.user(name="susan"))
    send_email("a@b.example", "Hi", "hello", name="susan")
    host.session.close()
    assert in_outbox(host.engine) == []
    assert "call db.session.commit() after send_email()" in caplog.text


def test_a_session_of_the_host_s_own_making_is_joined_if_it_is_handed_over(host: Host, in_outbox: Any) -> None:
    with Session(host.engine) as session:
        session.add(host.user(name="susan"))
        enqueue(compose("a@b.example", "Hi", "hello", name="susan"), session=session)
        session.rollback()
        session.add(host.user(name="susan"))
        enqueue(compose("b@b.example", "Hi", "hello", name="susan"), session=session)
        assert in_outbox(host.engine) == []
        session.commit()
    assert in_outbox(host.engine) == ["b@b.example"]


@pytest.mark.parametrize("kind", ["sessionmaker", "engine"])
def test_without_a_current_session_each_email_is_committed_alone(
    make_flask: Callable[..., Flask], make_engine: Any, sqlalchemy_url: str, in_outbox: Any, smtp: SmtpServer, kind: str
) -> None:
    engine, metadata, app = make_engine(sqlalchemy_url), sa.MetaData(), make_flask()
    mail = Mail(app, db=engine if kind == "engine" else sessionmaker(engine), metadata=metadata)
    metadata.create_all(engine)
    with app.app_context():
        email = send_email("a@b.example", "Hi", "hello", name="susan")
        assert in_outbox(engine) == ["a@b.example"]
        assert (email.recipient, email.subject, email.status) == ("a@b.example", "Hi", "queued")
        with Session(engine) as session:
            session.execute(sa.text("CREATE TABLE things (name VARCHAR(10))"))
            session.execute(sa.text("INSERT INTO things VALUES ('x')"))
            enqueue(Message("Hi", ["b@b.example"], "text"), session=session)
            session.rollback()
        with Session(engine) as session, session.begin():
            enqueue(Message("Hi", ["c@b.example"], "text"), session=session)
    assert in_outbox(engine) == ["a@b.example", "c@b.example"]
    assert mail.deliver() == 2


def test_without_metadata_the_host_makes_the_tables_itself(
    make_flask: Callable[..., Flask], make_engine: Any, sqlalchemy_url: str, in_outbox: Any
) -> None:
    engine, app = make_engine(sqlalchemy_url), make_flask()
    Email.metadata.create_all(engine)
    Mail(app, db=engine)
    with app.app_context():
        send_email("a@b.example", "Hi", "hello", name="susan")
    assert in_outbox(engine) == ["a@b.example"]
