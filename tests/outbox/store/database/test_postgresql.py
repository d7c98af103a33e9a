"""PostgreSQL, whoever made the engine: waits that end, failovers that are noticed, and an isolation level of the outbox's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from flask import Flask

from flask_outbox import Mail
from flask_outbox.store.database import postgresql
from flask_outbox.store.database.connection import WorkerConnection
from flask_outbox.store.outbox import Outbox, Try
from flasky.extensions import db

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask_outbox import Email

on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture
def make_engine(postgres_url: str) -> Iterator[Callable[..., sa.Engine]]:
    """A function that makes an engine, as a host may have it."""
    made: list[sa.Engine] = []

    def make(query: str = "", **options: Any) -> sa.Engine:
        made.append(sa.create_engine(f"{postgres_url.replace('://', '+psycopg://')}{query}", **options))
        return made[-1]

    yield make
    for engine in made:
        engine.dispose()


def connect_options(engine: sa.Engine) -> dict[str, str]:
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        return dict(driver.info.get_parameters())


def bind(engine: sa.Engine) -> None:
    app = Flask(__name__)
    app.config.update(MAIL_DELIVERY="manual", MAIL_DEFAULT_SENDER="a@example.com")
    Mail(app, db=engine)


def test_no_connection_of_a_host_waits_without_end(make_engine: Callable[..., sa.Engine]) -> None:
    engine = make_engine()
    with engine.connect():
        """It is opened before the library knows the engine."""
    bind(engine)
    options = connect_options(engine)
    assert options["connect_timeout"] == str(postgresql.CONNECT_TIMEOUT)
    assert {name: options[name] for name in postgresql.TIMEOUTS} == {
        name: str(value) for name, value in postgresql.TIMEOUTS.items()
    }


def test_what_the_host_has_set_stays(make_engine: Callable[..., sa.Engine], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "77")
    engine = make_engine("&keepalives_idle=99", connect_args={"tcp_user_timeout": 88_000})
    bind(engine)
    options = connect_options(engine)
    assert [options[name] for name in ("connect_timeout", "keepalives_idle", "tcp_user_timeout")] == ["77", "99", "88000"]


def test_without_a_pooler_psycopg_prepares(make_engine: Callable[..., sa.Engine]) -> None:
    engine = make_engine()
    bind(engine)
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        assert driver.prepare_threshold == 5


def make_read_only(engine: sa.Engine) -> None:
    """Fill the pool with two connections to a server that is read-only from now on."""
    with engine.connect() as one, engine.connect() as two:
        for connection in (one, two):
            connection.exec_driver_sql("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
            connection.commit()


@on_postgresql
def test_a_failover_fails_one_request_and_no_other(quiet: Flask, put: Callable[..., Email]) -> None:
    make_read_only(db.engine)
    with pytest.raises(sa.exc.DBAPIError) as caught:
        put()
    assert caught.value.connection_invalidated
    put()
    put()


@on_postgresql
def test_a_failover_fails_one_claim_and_no_other(quiet: Flask, put: Callable[..., Email]) -> None:
    put()
    make_read_only(db.engine)
    box = Outbox(db.engine, "host:1")
    with pytest.raises(sa.exc.DBAPIError) as caught:
        box.claim()
    assert caught.value.connection_invalidated
    batch = box.claim()
    assert batch is not None
    box.close()


@on_postgresql
def test_an_acceptance_is_recorded_although_the_server_has_become_read_only(quiet: Flask, put: Callable[..., Email]) -> None:
    put()
    box = Outbox(db.engine, "host:1")
    batch = box.claim()
    assert batch is not None
    with box._database.use() as connection:
        connection.exec_driver_sql("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
        connection.commit()
    (email,) = batch.open.values()
    assert box.settle_sent(batch, email, Try(batch.now(), 0.1, "sent", 250, None, "ok"))
    box.close()


SERVER = "&options=-c%20default_transaction_isolation%3Dserializable"


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", {"isolation_level": "SERIALIZABLE"}),
        ("", {"isolation_level": "REPEATABLE READ"}),
        (SERVER, {}),
        (SERVER, {"isolation_level": "AUTOCOMMIT"}),
    ],
)
def test_the_outbox_sees_what_others_have_committed_whatever_the_app_prefers(
    make_engine: Callable[..., sa.Engine], query: str, options: Any
) -> None:
    engine = make_engine(query, **options)
    with engine.connect() as connection:
        preferred = connection.connection.driver_connection.autocommit, connection.get_isolation_level()  # type: ignore[union-attr] # psycopg has it
    database = WorkerConnection(engine)
    for mode in (database.begin, database.begin_on_driver, database.begin):
        with mode() as connection:
            assert connection.exec_driver_sql("SHOW transaction_isolation").scalar() == "read committed"
    with database.begin() as connection:
        assert connection.connection.driver_connection.autocommit is False  # type: ignore[union-attr] # as above
    database.close()
    with engine.connect() as connection:
        assert (connection.connection.driver_connection.autocommit, connection.get_isolation_level()) == preferred  # type: ignore[union-attr] # as above
