"""The fixture under test, in an app that is not ours."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from flask_outbox.testing.plugin import outbox as outbox  # noqa: PLC0414 - over the suite's own of that name
from tests.outbox.testing import host
from tests.outbox.testing.host import db

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flask import Flask


@pytest.fixture
def make_host(tmp_path: Path) -> Iterator[Callable[..., Flask]]:
    """A function that makes the host app; its keywords are settings."""
    made: list[Flask] = []

    def make(url: str = f"sqlite:///{tmp_path / 'host.sqlite3'}", **settings: Any) -> Flask:
        made.append(host.create_app(url, **settings))
        return made[-1]

    yield make
    for app in made:
        with app.app_context():
            db.session.remove()
            db.engine.dispose()


@pytest.fixture(params=["file", "memory", "postgresql"])
def app(request: pytest.FixtureRequest, make_host: Callable[..., Flask]) -> Flask:
    """The host app over each kind of database."""
    if request.param == "postgresql":
        return make_host(request.getfixturevalue("postgres_url"))
    return make_host("sqlite://") if request.param == "memory" else make_host()


@contextmanager
def joined(app: Flask) -> Iterator[None]:
    """Join every session of *app* into one outer transaction, and roll that back; the recipe of Flask-SQLAlchemy's users."""
    with app.app_context():
        engines = db.engines
        engine = engines[None]
    with engine.connect() as connection:
        transaction = connection.begin()
        engines[None] = connection
        # Without it a session's rollback takes the outer transaction along.
        db.session.session_factory.configure(join_transaction_mode="create_savepoint")
        try:
            yield
        finally:
            engines[None] = engine
            db.session.session_factory.configure(join_transaction_mode="conditional_savepoint")
            transaction.rollback()
