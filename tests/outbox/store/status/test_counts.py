"""Counts are exact, but no request waits long for them, and they take a small part of the database's time."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import sqlalchemy as sa

from flask_outbox.store.models import Base
from flask_outbox.store.status import counts
from flask_outbox.store.status.counts import recent_counts
from flasky.extensions import db

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A count that takes until one lets it go; it is noted how often it has begun."""
    go, begun = threading.Event(), []

    def count(engine: sa.Engine) -> dict[str, int]:
        begun.append(engine)
        go.wait(10)
        return {"sent": len(begun)}

    monkeypatch.setattr(counts, "count_by_status", count)
    yield go, begun
    go.set()


def wait_for(expected: Any) -> None:
    deadline = time.monotonic() + 10
    while recent_counts(db.engine) != expected and time.monotonic() < deadline:
        time.sleep(0.01)
    assert recent_counts(db.engine) == expected


def test_each_status_is_counted(put: Any) -> None:
    for _ in range(3):
        put()
    wait_for({"queued": 3})


def test_a_count_is_used_for_a_while(put: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(counts, "LEAST_SECONDS", 3600)
    put()
    wait_for({"queued": 1})
    put()
    assert recent_counts(db.engine) == {"queued": 1}


def test_no_request_waits_for_a_slow_count_and_only_one_counts(slow: Any) -> None:
    go, begun = slow
    began = time.monotonic()
    assert recent_counts(db.engine) is None
    assert recent_counts(db.engine) is None
    assert time.monotonic() - began < 5
    assert len(begun) == 1
    go.set()
    wait_for({"sent": 1})


def test_a_slow_count_is_used_many_times_as_long_as_it_took(slow: Any, monkeypatch: Any) -> None:
    go, begun = slow
    monkeypatch.setattr(counts, "LEAST_SECONDS", 0)
    monkeypatch.setattr(counts, "TIMES", 1000)
    recent_counts(db.engine)
    go.set()
    wait_for({"sent": 1})
    for _ in range(5):
        recent_counts(db.engine)
    assert len(begun) == 1


def test_an_old_count_is_not_shown(slow: Any, monkeypatch: Any) -> None:
    go, _ = slow
    monkeypatch.setattr(counts, "LEAST_SECONDS", 0)
    monkeypatch.setattr(counts, "TIMES", 0)
    go.set()
    while recent_counts(db.engine) is None:
        time.sleep(0.01)
    go.clear()
    monkeypatch.setattr(counts, "LONGEST_SECONDS", 0)
    assert recent_counts(db.engine) is None


def test_a_database_in_memory_is_counted_in_the_same_thread() -> None:
    engine = sa.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    assert recent_counts(engine) == {}
    engine.dispose()


def test_a_database_that_fails_is_told_by_the_page_and_not_by_the_count(tmp_path: Any) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'empty.sqlite3'}")
    assert recent_counts(engine) is None
    engine.dispose()
