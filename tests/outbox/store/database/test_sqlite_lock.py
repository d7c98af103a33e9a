"""SQLite's write lock is had soon, waited for as long as the app says, and asked of no server."""

from __future__ import annotations

import sqlite3
import threading
import time
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from flask_outbox.store.database.sqlite_lock import take_write_lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    one = sa.create_engine(f"sqlite:///{tmp_path / 'lock.sqlite3'}", connect_args={"timeout": 0.6})
    with one.begin() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        connection.exec_driver_sql("CREATE TABLE one (id INTEGER)")
    yield one
    one.dispose()


class Hog:
    """Holds the write lock for so many *seconds*, beginning now."""

    def __init__(self, engine: sa.Engine, seconds: float) -> None:
        self._connection = sqlite3.connect(str(engine.url.database), isolation_level=None, check_same_thread=False)
        self._connection.execute("BEGIN IMMEDIATE")
        self._timer = threading.Timer(seconds, self._connection.rollback)
        self._timer.start()

    def end(self) -> None:
        self._timer.join()
        self._connection.close()


def insert(connection: sa.Connection) -> None:
    with connection.begin():
        take_write_lock(connection)
        connection.exec_driver_sql("INSERT INTO one VALUES (1)")


def count(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM one").scalar_one())


@pytest.mark.parametrize("seconds", [0.005, 0.2], ids=["a moment", "longer than is looked for"])
def test_a_lock_that_another_has_is_waited_for(engine: sa.Engine, seconds: float) -> None:
    with engine.connect() as connection:
        hog = Hog(engine, seconds)
        insert(connection)
        hog.end()
    assert count(engine) == 1


def test_a_lock_that_is_not_given_is_an_error_once_the_app_s_patience_is_over(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        hog = Hog(engine, 1.5)
        begun = time.monotonic()
        with pytest.raises(sa.exc.OperationalError, match="locked"):
            insert(connection)
        assert 0.5 < time.monotonic() - begun < 1.4
        hog.end()
        insert(connection)
    assert count(engine) == 1


def test_the_patience_is_as_it_was(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        insert(connection)
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == 600


def test_what_follows_is_one_transaction(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        transaction = connection.begin()
        take_write_lock(connection)
        take_write_lock(connection)
        connection.exec_driver_sql("INSERT INTO one VALUES (1)")
        transaction.rollback()
    assert count(engine) == 0


def test_it_is_had_as_soon_as_it_is_free(engine: sa.Engine) -> None:
    with engine.connect() as connection, connection.begin():
        hog = Hog(engine, 0.01)
        take_write_lock(connection)
        # And not by the statement that follows, which would have slept for it.
        assert connection.connection.driver_connection.in_transaction  # type: ignore[union-attr]
        hog.end()
