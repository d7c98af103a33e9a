"""An app that stands for a whole module of tests, emptied between them: making one with its tables takes a while."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import sqlalchemy as sa

from flasky import create_app
from flasky.config import Settings
from flasky.extensions import db

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest
    from flask import Flask


class Silent:
    """A bell that nobody hears."""

    def ring(self) -> None:
        pass


def database_url(request: pytest.FixtureRequest, folder: Any) -> str:
    """Return the URL of an empty database, of the kind that the fixture's parameter says."""
    if request.param == "sqlite":
        return f"sqlite:///{folder / 'standing.sqlite3'}"
    server, name = request.getfixturevalue("postgres").url, f"standing_{folder.name}".replace("-", "_").lower()
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return sa.make_url(server).set(database=name).render_as_string(hide_password=False)


@contextmanager
def standing_app(url: str) -> Iterator[Flask]:
    app = create_app(
        Settings(
            secret_key="a key that is used for tests alone",
            database_url=url,
            flasky_mail_dispatch="inline",
            mail_suppress_send=True,
        )
    )
    with app.app_context():
        db.create_all()
    yield app
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


@contextmanager
def emptied(app: Flask) -> Iterator[Flask]:
    """Push the app's context over empty tables, with a bell that nobody hears."""
    app.extensions["mail"].bell = Silent()
    with app.app_context():
        with db.engine.begin() as connection:
            for table in reversed(db.metadata.sorted_tables):
                connection.execute(sa.delete(table))
        yield app
        db.session.remove()
