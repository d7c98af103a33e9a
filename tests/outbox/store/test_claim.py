"""The claim: urgent and old emails first, and scheduled mail costs nothing until it is due."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_outbox.store.models import Status, emails
from flask_outbox.store.outbox import Outbox
from flask_outbox.store.statements import claim_statement, due_statement
from flasky.extensions import db

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask
    from sqlalchemy.engine import Connection

Put = "Callable[..., Any]"
SCHEDULED = 3000
# What a deeper index adds, in pages.
DEEPER = 20
NUMBERS = {
    "sqlite": "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT i FROM n)",
    "postgresql": "(SELECT generate_series(1, {count}) AS i)",
}


@pytest.fixture
def box(quiet: Flask) -> Iterator[Outbox]:
    one = Outbox(db.engine, "host:1")
    yield one
    one.close()


def ago(minutes: float) -> datetime:
    return datetime.now(UTC) - timedelta(minutes=minutes)


def copy(count: int, priority: str, send_at: datetime, status: Status = Status.QUEUED) -> None:
    """Copy the first email *count* times; *priority* is SQL, in which i is the number of the copy."""
    numbers = NUMBERS[db.engine.dialect.name].format(count=count)
    names = "content_id, recipient, tries, due_since, created_at"
    with db.engine.begin() as connection:
        connection.execute(
            sa.text(
                f"INSERT INTO mail_email (status, priority, send_at, {names}) SELECT :status, {priority}, :send_at, {names} "
                f"FROM {numbers} AS n, (SELECT * FROM mail_email ORDER BY id LIMIT 1) AS one"
            ).bindparams(sa.bindparam("send_at", send_at, type_=emails.c.send_at.type), status=status.value)
        )


def claim_all(box: Outbox, limit: int) -> list[tuple[int, datetime]]:
    """Claim until nothing is due, and return priority and time of each email in the order of delivery."""
    found = []
    while (batch := box.claim(limit)) is not None:
        assert len(batch.open) <= limit
        found += [(email.priority, email.send_at) for email in batch.open.values()]
    return found


# Order


def test_one_claim_takes_the_urgent_first_and_then_others(box: Outbox, put: Put) -> None:
    for priority, minutes in ((20, 9), (10, 1), (0, 1), (10, 5), (0, 2)):
        put(priority=priority, send_at=ago(minutes))
    put(priority=-5, send_at=ago(-5))
    batch = box.claim(4)
    assert batch is not None
    assert [email.priority for email in batch.open.values()] == [0, 0, 10, 10]
    assert claim_all(box, 4)[0][0] == 20
    assert not box.has_due()


def test_hundreds_of_priorities_are_claimed_in_order(box: Outbox, put: Put) -> None:
    put(priority=32767, send_at=ago(9))
    put(priority=-32767, send_at=ago(1))
    copy(100, "(i * 7919) % 30000 - 15000", ago(5))
    copy(300, "i * 100 - 30000", ago(-60))
    found = claim_all(box, 17)
    assert len(found) == 102
    assert found == sorted(found)


def test_a_due_email_is_found_behind_scheduled_ones_of_its_priority(box: Outbox, put: Put) -> None:
    for priority in (0, 10, 20):
        put(priority=priority, send_at=ago(-60))
    assert not box.has_due()
    assert box.claim() is None
    put(priority=10)
    assert box.has_due()
    assert [priority for priority, _ in claim_all(box, 10)] == [10]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_worker_takes_bulk_mail_while_another_is_claiming_the_urgent(box: Outbox, put: Put) -> None:
    put(priority=0)
    put(priority=20)
    with db.engine.connect() as other:
        other.execute(sa.select(emails.c.id).where(emails.c.priority == 0).with_for_update())
        batch = box.claim()
        assert batch is not None
        assert [email.priority for email in batch.open.values()] == [20]


# Cost


def analyze() -> None:
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")


def cost(statement: Any) -> float:
    """Return what *statement* costs: SQLite's steps, or the pages that PostgreSQL reads. It is rolled back."""
    with db.engine.connect() as connection:
        values = {"limit": 10, "token": "t"} if isinstance(statement, sa.Update) else {}
        return (_steps if connection.dialect.name == "sqlite" else _pages)(connection, statement, values)


def _steps(connection: Connection, statement: Any, values: dict[str, Any]) -> float:
    steps = []
    driver: Any = connection.connection.driver_connection
    driver.set_progress_handler(lambda: steps.append(1), 1)
    connection.execute(statement, values).all()
    driver.set_progress_handler(None, 1)
    return len(steps)


def _pages(connection: Connection, statement: Any, values: dict[str, Any]) -> float:
    compiled = statement.compile(connection)
    for _ in range(2):  # the first execution reads the catalogue as well
        explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {compiled}"
        (found,) = connection.exec_driver_sql(explain, compiled.construct_params(values)).one()
        connection.rollback()
    plan = (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]
    return float(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


@pytest.mark.parametrize("make", [due_statement, claim_statement])
@pytest.mark.parametrize("statistics", ["none", "stale", "fresh"])
@pytest.mark.parametrize("due", [0, 20])
def test_scheduled_mail_costs_nothing_until_it_is_due(put: Put, make: Callable[..., Any], due: int, statistics: str) -> None:
    for priority in (0, 10, 20):
        put(priority=priority, send_at=ago(-60))
    if due:
        copy(due, "0", ago(5))
        copy(due, "20", ago(5))
    statement = make(db.engine.dialect)
    before = cost(statement)
    copy(SCHEDULED, "10", ago(60), Status.SENT)
    if statistics == "stale":
        analyze()
    for priority in (0, 10, 20):
        copy(SCHEDULED, str(priority), ago(-60))
    if statistics == "fresh":
        analyze()
    assert cost(statement) <= 1.5 * before + DEEPER
