"""A worker that keeps running is seen in the database, with what it is doing."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from flask_outbox.store.database.connection import WorkerConnection
from flask_outbox.store.models import Worker
from flask_outbox.store.presence import Presence
from flasky.extensions import db

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask


@pytest.fixture(autouse=True)
def context(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


def seen() -> list[Worker]:
    db.session.rollback()
    return list(db.session.scalars(sa.select(Worker)))


def test_a_worker_says_what_it_is_doing_and_since_when() -> None:
    presence = Presence(WorkerConnection(db.engine), "host:1")
    presence.beat("waiting for mail", time.monotonic() - 60)
    (worker,) = seen()
    assert worker.doing == "waiting for mail"
    assert timedelta(seconds=59) < worker.seen_at - worker.started_at < timedelta(seconds=61)
    # The same again costs nothing.
    seen_at = worker.seen_at
    presence.beat("waiting for mail", time.monotonic() - 60)
    assert seen()[0].seen_at == seen_at
    presence.leave()
    assert seen() == []


def test_a_name_that_a_killed_process_had_is_taken_over() -> None:
    Presence(WorkerConnection(db.engine), "host:1").beat("delivering", time.monotonic() - 3600)
    Presence(WorkerConnection(db.engine), "host:1").beat("waiting for mail", time.monotonic())
    (worker,) = seen()
    assert (worker.doing, worker.seen_at - worker.started_at < timedelta(seconds=5)) == ("waiting for mail", True)


def test_a_worker_that_was_not_seen_for_a_day_is_forgotten() -> None:
    Presence(WorkerConnection(db.engine), "host:1").beat("delivering", time.monotonic())
    db.session.execute(sa.update(Worker).values(seen_at=seen()[0].seen_at - timedelta(days=2)))
    db.session.commit()
    Presence(WorkerConnection(db.engine), "host:2").beat("delivering", time.monotonic())
    assert [worker.name for worker in seen()] == ["host:2"]
