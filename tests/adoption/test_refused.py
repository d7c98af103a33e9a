"""What cannot work is told by init_app, in one sentence for each problem."""

from __future__ import annotations

import sqlite3
from importlib import metadata
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import scoped_session, sessionmaker
from sqlalchemy.pool import StaticPool

from flask_outbox import ConfigurationError, Mail, send_email

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class StandIn:
    """A driver that nobody connects with."""

    paramstyle = "format"
    version_info = (9, 9, 9)
    Error = sqlite3.Error


def problems(app: Flask, **options: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        Mail(app, **options)
    assert "mail" not in app.extensions
    assert str(raised.value).count("\n  - ") == len(raised.value.problems)
    return raised.value.problems


@pytest.fixture
def host(make_flask: Callable[..., Flask], tmp_path: Path) -> Flask:
    """An app whose database is fine."""
    app = make_flask(SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / 'host.sqlite3'}")
    SQLAlchemy(app)
    return app


@pytest.mark.parametrize("url", ["mysql+pymysql://user@host/name", "mariadb+pymysql://user@host/name"])
def test_a_database_that_cannot_hold_an_outbox(make_flask: Callable[..., Flask], url: str) -> None:
    engine = sa.create_engine(url, module=StandIn())
    name = url.partition("+")[0]
    assert problems(make_flask(), db=engine) == [
        f"the outbox works on PostgreSQL and SQLite, and this database is {name}: hand one over, as Mail(db=engine)"
    ]


def test_an_asynchronous_engine(make_flask: Callable[..., Flask]) -> None:
    engine = create_async_engine("postgresql+psycopg://host/name")
    for given in (engine, engine.sync_engine, sessionmaker(engine.sync_engine), async_sessionmaker(engine)):
        (problem,) = problems(make_flask(), db=given)
        assert problem.startswith(("the outbox needs a synchronous engine: create one", "the outbox cannot use async_sessionmaker"))


def test_no_database_at_all(make_flask: Callable[..., Flask]) -> None:
    (problem,) = problems(make_flask())
    assert problem.startswith("the outbox needs the app's database: call db.init_app(app) before mail.init_app(app)")


@pytest.mark.parametrize("given", ["sqlite://", object(), sa.MetaData()], ids=["a URL", "an object", "metadata"])
def test_what_is_no_database(make_flask: Callable[..., Flask], given: Any) -> None:
    (problem,) = problems(make_flask(), db=given)
    assert problem.startswith(f"the outbox cannot use {type(given).__name__} as its database: hand over a scoped_session")


def test_a_session_without_an_engine(make_flask: Callable[..., Flask]) -> None:
    for given in (sessionmaker(), scoped_session(sessionmaker())):
        assert problems(make_flask(), db=given) == [
            "the session has no engine yet: write sessionmaker(bind=engine) before you hand it to Mail"
        ]


def test_a_thread_on_a_connection_that_all_threads_share(make_flask: Callable[..., Flask], make_engine: Any) -> None:
    for options in ({}, {"poolclass": StaticPool}):
        (problem,) = problems(make_flask(MAIL_DELIVERY="thread"), db=make_engine("sqlite://", **options))
        assert problem.startswith("MAIL_DELIVERY is thread, and the database is one connection that all threads share: use")


def test_flask_sqlalchemy_s_database_in_memory_is_refused_with_a_thread_and_works_in_tests(
    make_flask: Callable[..., Flask],
) -> None:
    app = make_flask(SQLALCHEMY_DATABASE_URI="sqlite://", MAIL_DELIVERY=None)
    db = SQLAlchemy(app)
    (problem,) = problems(app)
    assert "one connection" in problem
    app.testing = True
    Mail(app)
    with app.app_context():
        db.create_all()
        send_email("a@b.example", "Hi", "hello", name="susan")
        assert app.extensions["mail"].deliver() == 1
        db.session.remove()
        db.engine.dispose()


def test_a_bell_of_one_s_own_needs_no_thread(make_flask: Callable[..., Flask], make_engine: Any) -> None:
    Mail(make_flask(MAIL_DELIVERY=None), db=make_engine("sqlite://"), bell=lambda: None)


def test_a_misspelt_delivery(host: Flask) -> None:
    host.config["MAIL_DELIVERY"] = "thraed"
    assert problems(host) == ["MAIL_DELIVERY is 'thraed': it has to be one of thread, rq, inline, manual"]


def test_rq_without_its_redis(host: Flask) -> None:
    host.config["MAIL_DELIVERY"] = "rq"
    assert problems(host) == ["MAIL_DELIVERY is rq, and MAIL_REDIS_URL is missing: give it, for example redis://localhost:6379/0"]


@pytest.mark.parametrize(
    ("package", "version", "told"),
    [
        ("Flask-Mail", "0.9.1", "Flask-Mail 0.9.1 is too old: install Flask-Mail 0.10 or newer"),
        ("rq", "1.16.2", "rq 1.16.2 is too old: install rq 2.0 or newer"),
    ],
)
def test_a_package_that_is_too_old(host: Flask, monkeypatch: pytest.MonkeyPatch, package: str, version: str, told: str) -> None:
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: version if name == package else real(name))
    host.config.update(MAIL_DELIVERY="rq", MAIL_REDIS_URL="redis://localhost:6379/0")
    assert problems(host) == [told]


def test_rq_that_is_not_installed(host: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_outbox.extension.find_spec", lambda name: None)

    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    host.config.update(MAIL_DELIVERY="rq", MAIL_REDIS_URL="redis://localhost:6379/0")
    assert problems(host) == ["MAIL_DELIVERY is rq, and RQ is not installed: pip install flask-outbox[rq]"]


def test_everything_that_is_wrong_at_once(make_flask: Callable[..., Flask]) -> None:
    found = problems(make_flask(MAIL_PORT="many", MAIL_USE_TLS="perhaps", MAIL_DELIVERY="post", MAIL_DEFAULT_SENDER="nobody"))
    assert [problem.split()[0] for problem in found] == ["MAIL_PORT", "MAIL_USE_TLS", "MAIL_DEFAULT_SENDER", "MAIL_DELIVERY", "the"]


def test_an_app_without_the_extension_is_told_so_at_the_first_email(make_flask: Callable[..., Flask]) -> None:
    with make_flask().app_context(), pytest.raises(RuntimeError, match=r"not bound to this app: call mail\.init_app\(app\)"):
        send_email("a@b.example", "Hi", "hello", name="susan")
