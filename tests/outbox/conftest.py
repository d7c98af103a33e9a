"""The fixtures of the mail package's tests: emails in an outbox, over both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_outbox import Attempt, Email, Message, enqueue
from flask_outbox.delivery import bells
from flasky.extensions import db

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask


class Bell(bells.Bell):
    """Counts how often it was rung, and delivers nothing."""

    def __init__(self) -> None:
        self.count = 0

    def ring(self) -> None:
        self.count += 1


@pytest.fixture
def quiet(make_app: Callable[..., Flask], database_url: str) -> Iterator[Flask]:
    """An app over each database, with its context pushed, whose bell wakes nobody."""
    app = make_app(database_url=database_url, mail_timeout=0.5)
    app.extensions["mail"].bell = Bell()
    with app.app_context():
        yield app


@pytest.fixture
def put(quiet: Flask) -> Callable[..., Email]:
    """A function that puts one email into the outbox; its keywords are those of enqueue."""

    def one(recipient: str = "b@example.com", **options: Any) -> Email:
        return enqueue(Message("hi", [recipient], "text", sender="a@example.com"), **options)[0]

    return one


@pytest.fixture
def deliver(quiet: Flask) -> Callable[[], int]:
    """A function that runs one pass of a worker."""
    return quiet.extensions["mail"].deliver


@pytest.fixture
def statuses(quiet: Flask) -> Callable[[], list[str]]:
    """A function that returns the state of every email, as the database has it."""

    def read() -> list[str]:
        with db.engine.connect() as connection:
            return list(connection.scalars(sa.select(Email.status).order_by(Email.id)))

    return read


@pytest.fixture
def outcomes(quiet: Flask) -> Callable[[], list[tuple[str, int | None]]]:
    """A function that returns the outcome and code of every attempt."""

    def read() -> list[tuple[str, int | None]]:
        with db.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.select(Attempt.outcome, Attempt.code).order_by(Attempt.id))]

    return read


@pytest.fixture
def due(quiet: Flask) -> Callable[[], None]:
    """A function that makes everything that waits due, and forgets that the server was away."""

    def now() -> None:
        with db.engine.begin() as connection:
            connection.execute(sa.text("UPDATE mail_email SET send_at = created_at WHERE status = 'queued'"))
            connection.execute(sa.text("DELETE FROM mail_health"))

    return now
