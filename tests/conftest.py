"""The fixtures that every test may use: app, client, runner, outbox, and real servers."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import sqlalchemy as sa
import trustme

from flask_outbox.testing import SmtpServer
from flasky import create_app
from flasky.config import Settings
from flasky.extensions import db
from flasky.mail import Email
from tests.servers import PostgresServer, RedisServer, Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flask import Flask

KEY = "a key that is used for tests alone"
numbers = itertools.count()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.stop()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    redis_server.client.flushall()
    return redis_server.url


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that this test alone may stop, freeze and flush."""
    server = RedisServer(tmp_path).start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.stop()


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """An empty PostgreSQL database of this test's own."""
    name = f"test_{next(numbers)}"
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield sa.make_url(postgres.url).set(database=name).render_as_string(hide_password=False)
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Both databases, one after the other."""
    return request.getfixturevalue("postgres_url") if request.param == "postgresql" else f"sqlite:///{tmp_path / 'test.sqlite3'}"


@pytest.fixture
def smtp() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        yield server


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def make_app(tmp_path: Path, smtp: SmtpServer) -> Iterator[Callable[..., Flask]]:
    """A function that makes an app with its tables; its keywords are settings."""
    made: list[Flask] = []

    def make(**settings: Any) -> Flask:
        own = {
            "secret_key": KEY,
            "database_url": f"sqlite:///{tmp_path / 'test.sqlite3'}",
            "mail_server": "127.0.0.1",
            "mail_port": smtp.port,
            "mail_timeout": 5.0,
            "flasky_admin": "admin@example.com",
            "flasky_mail_dispatch": "inline",
            "flasky_form_limit": "1000 per minute",
            "flasky_admin_mail_limit": "1000 per minute",
        }
        app = create_app(Settings(**own | settings))
        app.instance_path = str(tmp_path)
        with app.app_context():
            db.create_all()
        made.append(app)
        return app

    yield make
    for app in made:
        with app.app_context():
            db.session.remove()
            db.engine.dispose()


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app()


@pytest.fixture
def context(app: Flask) -> Iterator[Flask]:
    """The app with its context pushed."""
    with app.app_context():
        yield app


@pytest.fixture
def client(app: Flask) -> Any:
    return app.test_client()


@pytest.fixture
def runner(app: Flask) -> Any:
    return app.test_cli_runner()


@pytest.fixture
def outbox(app: Flask) -> Callable[[], list[Email]]:
    """A function that returns every email in the outbox, oldest first, as the database has it."""

    def read() -> list[Email]:
        with app.app_context():
            return list(db.session.scalars(sa.select(Email).order_by(Email.id)).unique())

    return read


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """A function that makes a Site; its keywords are environment variables."""
    made: list[Site] = []

    def make(**settings: object) -> Site:
        made.append(Site(tmp_path, **settings))
        return made[-1]

    yield make
    for one in made:
        one.stop()
