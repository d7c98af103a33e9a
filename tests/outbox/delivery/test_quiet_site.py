"""What one email costs the database on a quiet site, counted at the driver: from the bell until the worker is idle."""

from __future__ import annotations

import re
import sqlite3
import time
from typing import TYPE_CHECKING, Any

import psycopg.pq
import pytest
import sqlalchemy as sa

from flask_outbox.delivery import thread
from flasky.extensions import db

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flask import Flask

    from flask_outbox.delivery.thread import DeliveryThread
    from flask_outbox.testing import SmtpServer

MOST = 20
# In libpq's trace: F is what the client sends.
ROUND_TRIP = re.compile(r"^F\t\d+\t(?:Sync|Query.*)$", re.MULTILINE)


class Wire:
    """Counts SQLite's statements and PostgreSQL's round trips: each ends with a Sync or is a Query of its own."""

    def __init__(self, log: Path) -> None:
        self._log = log.open("w+")
        self._statements: list[str] = []

    def watch(self, connection: Any, _: Any) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.set_trace_callback(self._statements.append)
            return
        connection.pgconn.trace(self._log.fileno())
        connection.pgconn.set_trace_flags(psycopg.pq.Trace.SUPPRESS_TIMESTAMPS)

    def statements(self) -> list[str]:
        self._log.seek(0)
        return self._statements + ROUND_TRIP.findall(self._log.read())

    def close(self) -> None:
        self._log.close()


@pytest.fixture
def wire(quiet: Flask, tmp_path: Path) -> Iterator[Wire]:
    one = Wire(tmp_path / "wire.log")
    sa.event.listen(db.engine, "connect", one.watch)
    db.engine.dispose()
    yield one
    db.engine.dispose()
    one.close()


@pytest.fixture
def idle(quiet: Flask, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Iterator[DeliveryThread]:
    """A delivery thread that has nothing to do, and does not sweep."""
    monkeypatch.setattr(thread, "SWEEP_EVERY", 60.0)
    one = quiet.extensions["mail"].make_thread().start()
    one.wait_until_idle(one._stopping)
    one.ring_and_wait(10)
    yield one
    one.stop()


def test_one_email_costs_under_twenty_statements(
    idle: DeliveryThread, wire: Wire, put: Callable[..., Any], smtp: SmtpServer, statuses: Callable[[], list[str]]
) -> None:
    # The first email of a process also rehearses how its acceptance is recorded.
    put()
    idle.ring_and_wait(10)
    # Later than what counts as a burst.
    time.sleep(2 * thread.POLL_FOR)
    put()
    before = len(wire.statements())
    idle.ring_and_wait(10)
    # RQ's job arrives a moment after its bell, and wakes the thread once more.
    idle.ring_and_wait(10)
    spoken = wire.statements()[before:]
    assert len(smtp.accepted) == 2
    assert len(spoken) < MOST, "\n".join(spoken)
    assert statuses() == ["sent", "sent"]


def test_a_sweep_that_finds_nothing_costs_two(idle: DeliveryThread, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(wire.statements())
    idle.ring_and_wait(10)
    spoken = wire.statements()[before:]
    assert len(spoken) <= 2, "\n".join(spoken)
