"""The fixture outbox over what else a host may keep its data with: plain SQLAlchemy, Flask-SQLAlchemy-Lite, an engine alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flask_sqlalchemy_lite
import pytest
import sqlalchemy as sa
from flask import Flask
from jinja2 import DictLoader
from sqlalchemy.orm import scoped_session, sessionmaker

from flask_outbox import Mail, send_email
from flask_outbox.testing import RecordedOutbox
from tests.outbox.testing.host import TEMPLATES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def bare(tmp_path: Path) -> Flask:
    """An app without a database."""
    app = Flask("bare")
    app.jinja_loader = DictLoader(TEMPLATES)
    url = f"sqlite:///{tmp_path / 'bare.sqlite3'}"
    app.config.update(TESTING=True, MAIL_DEFAULT_SENDER="site@example.com", SQLALCHEMY_ENGINES={"default": url})
    return app


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    one = sa.create_engine(f"sqlite:///{tmp_path / 'bare.sqlite3'}")
    with one.begin() as connection:
        connection.execute(sa.text("CREATE TABLE person (name TEXT)"))
    yield one
    one.dispose()


def add(session: Any, name: str) -> None:
    session.execute(sa.text("INSERT INTO person VALUES (:name)"), {"name": name})
    send_email(f"{name}@example.com", "Welcome", "mail/welcome", name=name)


def test_a_scoped_session_of_plain_sqlalchemy(bare: Flask, engine: sa.Engine) -> None:
    metadata = sa.MetaData()
    session = scoped_session(sessionmaker(engine))
    # What a look into the outbox must not set off: it would end the test's own transaction.
    bare.teardown_appcontext(lambda _: session.remove())
    Mail(bare, db=session, metadata=metadata)
    metadata.create_all(engine)
    with RecordedOutbox(bare).recording() as outbox, bare.app_context():
        add(session, "susan")
        assert outbox.one().status == "queued"
        session.rollback()
        assert not outbox
        add(session, "ann")
        session.commit()
        assert outbox.deliver() == 1


def test_a_session_of_flask_sqlalchemy_lite(bare: Flask, engine: sa.Engine) -> None:
    db = flask_sqlalchemy_lite.SQLAlchemy(bare)
    metadata = sa.MetaData()
    with bare.app_context():
        Mail(bare, metadata=metadata)
    metadata.create_all(engine)
    with RecordedOutbox(bare).recording() as outbox, bare.app_context():
        add(db.session, "susan")
        assert outbox.one().status == "queued"
        db.session.rollback()
        assert not outbox
        add(db.session, "ann")
        db.session.commit()
        assert outbox.deliver() == 1
        db.engine.dispose()


def test_an_engine_alone(bare: Flask, engine: sa.Engine) -> None:
    metadata = sa.MetaData()
    Mail(bare, db=engine, metadata=metadata)
    metadata.create_all(engine)
    with RecordedOutbox(bare).recording() as outbox, bare.app_context():
        send_email("susan@example.com", "Welcome", "mail/welcome", name="Susan")
        assert outbox.one().status == "queued"
        assert outbox.deliver() == 1
        assert outbox.one().status == "sent"


@pytest.mark.parametrize("mode", ["conditional_savepoint", "rollback_only", "create_savepoint"])
def test_a_session_that_is_bound_to_the_connection_of_a_test(bare: Flask, engine: sa.Engine, mode: Any) -> None:
    metadata = sa.MetaData()
    session = scoped_session(sessionmaker(engine, join_transaction_mode=mode))
    bare.teardown_appcontext(lambda _: session.remove())
    Mail(bare, db=session, metadata=metadata)
    metadata.create_all(engine)
    with RecordedOutbox(bare).recording() as outbox, engine.connect() as connection, connection.begin() as outer:
        session.configure(bind=connection)
        with bare.app_context():
            add(session, "susan")
            session.commit()
        assert outbox.one().status == "queued"
        with bare.app_context():
            assert session.scalar(sa.text("SELECT name FROM person")) == "susan"
            assert outbox.deliver() == 1
            assert outbox.one().status == "sent"
        assert outbox.one().status == "sent"
        outer.rollback()
        assert not outbox
    with engine.connect() as fresh:
        assert fresh.scalar(sa.text("SELECT count(*) FROM person")) == 0
