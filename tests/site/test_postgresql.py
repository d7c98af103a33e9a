"""A database that is away, full or read-only: the 503 page, a clear word in the log, and nobody who waits for what is known."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import sqlalchemy as sa

from flasky import create_app, postgresql
from flasky.config import Settings, flask_keys
from flasky.extensions import db
from tests.conftest import KEY
from tests.servers import wait_until
from tests.site.visiting import fill

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flask import Flask

    from tests.servers import PostgresServer

SOCKET = ".s.PGSQL.5432"
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


class SilentServer:
    """A server that takes connections and never answers; later the real one may take its place."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / SOCKET
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(self.path))
        self._socket.listen()
        self._lines: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                self._lines.append(self._socket.accept()[0])
            except OSError:
                return

    @property
    def count(self) -> int:
        """Return how many have connected."""
        return len(self._lines)

    def replace(self, real: str) -> None:
        self.path.unlink()
        self.path.symlink_to(f"{real}/{SOCKET}")

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()
        for line in self._lines:
            line.close()


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[SilentServer]:
    server = SilentServer(tmp_path)
    yield server
    server.close()


@pytest.fixture
def far_app(make_app: Callable[..., Flask], postgres_url: str, silent: SilentServer, tmp_path: Path) -> Iterator[Flask]:
    """The site, whose database is behind the silent server."""
    make_app(database_url=postgres_url)
    url = sa.make_url(postgres_url).update_query_dict({"host": str(tmp_path), "connect_timeout": "2"})
    app = create_app(
        Settings(
            secret_key=KEY,
            database_url=url.render_as_string(hide_password=False),
            flasky_mail_dispatch="manual",
            flasky_form_limit="1000 per minute",
        )
    )
    yield app
    with app.app_context():
        db.engine.dispose()


def post(app: Flask, name: str = "susan") -> int:
    return int(fill(app.test_client(), name=name).status_code)


def test_who_comes_while_the_database_is_known_to_be_away_does_not_wait(
    far_app: Flask, silent: SilentServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(postgresql, "TRY_EVERY", 60)
    assert [post(far_app) for _ in range(5)] == [503] * 5
    assert silent.count == 1
    assert caplog.text.count("the database cannot be used: connection timeout expired") == 5


def test_one_looks_again_while_the_others_are_answered(
    far_app: Flask, silent: SilentServer, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "TRY_EVERY", 0)
    assert post(far_app) == 503
    statuses: list[int] = []
    looking = threading.Thread(target=lambda: statuses.append(post(far_app)))
    looking.start()
    wait_until(lambda: silent.count == 2)
    assert post(far_app) == 503
    assert statuses == []
    looking.join()
    assert (statuses, silent.count) == ([503], 2)
    silent.replace(postgres.socket_dir)
    assert post(far_app) == 302


@on_postgresql
def test_a_server_that_has_become_read_only_is_one_503(make_app: Callable[..., Flask], database_url: str, caplog: Any) -> None:
    app = make_app(database_url=database_url)
    with app.app_context(), db.engine.connect() as connection:
        connection.exec_driver_sql("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
        connection.commit()
    assert [post(app), post(app)] == [503, 302]
    assert "the database cannot be used: cannot execute INSERT in a read-only transaction" in caplog.text


def test_an_exhausted_pool_is_a_503(
    make_app: Callable[..., Flask], database_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(flask_keys, "POOL_TIMEOUT", 0.1)
    app = make_app(database_url=database_url)
    with app.app_context():
        held = [db.engine.connect() for _ in range(15)]
    assert post(app) == 503
    assert "the database cannot be used: QueuePool limit of size 5 overflow 10 reached" in caplog.text
    for connection in held:
        connection.close()
    assert post(app) == 302


@on_postgresql
def test_a_server_without_a_free_connection_is_a_503(
    make_app: Callable[..., Flask], database_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(postgresql, "TRY_EVERY", 0)
    with psycopg.connect(database_url, autocommit=True) as operator:
        operator.execute("CREATE ROLE few LOGIN CONNECTION LIMIT 1 IN ROLE postgres")
        url = sa.make_url(database_url).set(username="few").render_as_string(hide_password=False)
        app = make_app(database_url=url)
        with app.app_context():
            db.engine.dispose()
        with psycopg.connect(url):
            assert post(app) == 503
        assert "the database cannot be used" in caplog.text
        assert 'too many connections for role "few"' in caplog.text
        wait_until(lambda: post(app) == 302)
        with app.app_context():
            db.drop_all()
            db.engine.dispose()
        operator.execute("DROP OWNED BY few")
        operator.execute("DROP ROLE few")
