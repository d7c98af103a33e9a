"""Health is red whenever mail is not going out and somebody should look, and says what to do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, get_args

import pytest
import sqlalchemy as sa

from flask_outbox import Attempt, Email, HealthReport, Mail
from flask_outbox.errors import Unavailable
from flask_outbox.store.outbox import Outbox
from flask_outbox.store.status.facts import Deferrals, Facts, read_facts
from flask_outbox.store.status.health import Reason, judge, read_health
from flask_outbox.testing import reply
from flasky.extensions import db

if TYPE_CHECKING:
    from flask_outbox.testing import SmtpServer

ROOT = Path(__file__).parents[4]
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def server(*, ours: bool = False, next_try_at: datetime = NOW) -> Any:
    return SimpleNamespace(reason="535 5.7.8 no", ours=ours, since=ago(hours=1), next_try_at=next_try_at)


def deferrals(since: datetime, enhanced: str = "4.7.1", *, is_one_email: bool = False) -> Deferrals:
    return Deferrals(since, f"451 {enhanced} later", enhanced, is_one_email)


OVERDUE: dict[str, Any] = {"waiting": 1, "overdue_since": ago(hours=1), "due_since": ago(hours=1)}


@pytest.mark.parametrize(
    ("facts", "reasons"),
    [
        ({}, []),
        ({"waiting": 5, "due_since": ago(seconds=10)}, []),
        # No worker.
        (OVERDUE, ["worker"]),
        (OVERDUE | {"tried_at": ago(minutes=2)}, ["worker"]),
        (OVERDUE | {"tried_at": ago(seconds=50)}, []),
        (OVERDUE | {"is_leased": True}, []),
        # The server cannot be used; after the pause, a worker must try again.
        (OVERDUE | {"server": server(next_try_at=ago(seconds=-30))}, ["server"]),
        (OVERDUE | {"server": server(next_try_at=ago(seconds=50))}, ["server"]),
        (OVERDUE | {"server": server(next_try_at=ago(minutes=2))}, ["server", "worker"]),
        (OVERDUE | {"server": server(ours=True)}, ["configuration"]),
        ({"server": server(next_try_at=ago(days=1))}, []),
        # Only deferrals.
        ({"waiting": 1, "tried_at": ago(minutes=1), "deferrals": deferrals(ago(minutes=11))}, ["deferrals"]),
        ({"waiting": 1, "tried_at": ago(hours=4), "deferrals": deferrals(ago(days=2))}, ["deferrals"]),
        ({"waiting": 1, "tried_at": ago(minutes=1), "deferrals": deferrals(ago(minutes=9))}, []),
        ({"waiting": 1, "tried_at": ago(hours=6), "deferrals": deferrals(ago(days=2))}, []),
        ({"waiting": 0, "tried_at": ago(minutes=1), "deferrals": deferrals(ago(days=2))}, []),
        # One full mailbox is no reason to look, a server that says so to everybody is.
        ({"waiting": 1, "tried_at": NOW, "deferrals": deferrals(ago(days=1), "4.2.2", is_one_email=True)}, []),
        ({"waiting": 1, "tried_at": NOW, "deferrals": deferrals(ago(days=1), "4.7.1", is_one_email=True)}, ["deferrals"]),
        ({"waiting": 2, "tried_at": NOW, "deferrals": deferrals(ago(days=1), "4.2.2")}, ["deferrals"]),
        # Held mail waits for an operator anyway.
        ({"held": 7}, []),
    ],
)
def test_a_rule_is_a_function_of_the_facts(facts: dict[str, Any], reasons: list[str]) -> None:
    report = judge(Facts(NOW, **facts))
    assert [problem.reason for problem in report.problems] == reasons
    assert report.is_healthy is (not reasons)
    assert all(problem.what and problem.remedy for problem in report.problems)


def test_a_rate_may_keep_a_worker_quiet_for_its_window() -> None:
    facts = Facts(NOW, **OVERDUE, tried_at=ago(minutes=50))
    assert judge(facts, timedelta(hours=1)).is_healthy
    assert not judge(facts, timedelta(minutes=30)).is_healthy


def test_held_mail_is_told_and_not_red() -> None:
    assert judge(Facts(NOW, held=7)).remarks == ("held: 7 (flask mail list --status held)",)


def test_the_runbook_has_an_entry_for_each_reason() -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text()
    problems = [
        problem
        for facts in (OVERDUE, {"waiting": 1, "server": server()}, {"waiting": 1, "server": server(ours=True)})
        for problem in judge(Facts(NOW, **facts)).problems
    ]
    problems += judge(Facts(NOW, waiting=1, tried_at=NOW, deferrals=deferrals(ago(days=1)))).problems
    problems += read_health(sa.create_engine("postgresql+psycopg://nobody@127.0.0.1:1/nothing")).problems
    assert {problem.reason for problem in problems} == set(get_args(Reason))
    for problem in problems:
        (entry,) = [line for line in runbook.splitlines() if line.startswith(f"| `{problem.reason}` |")]
        words = entry.split("|")[2].strip().strip("`").split("`, `")
        assert any(word in problem.what for word in words), entry


# With a database


def health() -> HealthReport:
    return read_health(db.engine)


def reasons() -> list[str]:
    return [problem.reason for problem in health().problems]


def move(table: Any, **columns: timedelta) -> None:
    """Move the times in *columns* of every row into the past."""
    with db.engine.begin() as connection:
        for row in connection.execute(sa.select(table.__table__)).all():
            values = {name: getattr(row, name) - by for name, by in columns.items()}
            connection.execute(sa.update(table).where(table.id == row.id).values(values))


def test_mail_that_nobody_tries_is_red_after_a_minute(quiet: Any, put: Any) -> None:
    put(send_at=datetime.now(UTC) + timedelta(days=1))
    put()
    assert reasons() == []
    move(Email, send_at=timedelta(seconds=70), due_since=timedelta(seconds=70))
    (problem,) = health().problems
    assert (problem.reason, "flask mail worker" in problem.remedy) == ("worker", True)
    assert problem.since == db.session.get(Email, 2, populate_existing=True).due_since  # type: ignore[union-attr] # put above
    outbox = Outbox(db.engine, "a worker")
    outbox.claim(1)
    assert reasons() == []
    outbox.close()


def test_a_worker_that_has_just_tried_something_is_alive(quiet: Any, put: Any, deliver: Any) -> None:
    put()
    deliver()
    put()
    move(Email, send_at=timedelta(hours=1))
    assert reasons() == []
    move(Attempt, started_at=timedelta(minutes=2))
    assert reasons() == ["worker"]


def test_a_4xx_to_every_email_for_ten_minutes_is_red_with_the_reply(
    quiet: Any, put: Any, deliver: Any, due: Any, smtp: SmtpServer
) -> None:
    put()
    deliver()
    smtp.on("RCPT", reply("451 4.3.5 the policy service is broken"), always=True)
    for _ in range(3):
        put()
    deliver()
    assert reasons() == []
    move(Attempt, started_at=timedelta(minutes=11))
    due()
    deliver()
    (problem,) = health().problems
    assert problem.reason == "deferrals"
    assert "451 4.3.5 the policy service is broken" in problem.what
    smtp.reset()
    put()
    deliver()
    assert reasons() == []


def test_a_server_that_is_away_and_a_configuration_that_is_refused_are_red(quiet: Any, put: Any) -> None:
    put()
    outbox = Outbox(db.engine, "a worker")
    outbox.health.note_unavailable(Unavailable("connection refused"))
    assert reasons() == ["server"]
    outbox.health.note_unavailable(Unavailable("5.7.8 no", 535, ours=True))
    (problem,) = health().problems
    assert (problem.reason, problem.what) == ("configuration", "our own configuration is refused: 535 5.7.8 no")
    outbox.close()


def test_without_tables_it_is_red_and_says_what_to_do(quiet: Any) -> None:
    db.drop_all()
    (problem,) = health().problems
    assert (problem.reason, "flask db upgrade" in problem.remedy) == ("database", True)


def test_a_database_that_is_away_is_red_and_raises_nothing() -> None:
    engine = sa.create_engine("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    (problem,) = read_health(engine).problems
    assert problem.reason == "database"
    assert "cannot be used" in problem.what


def test_a_pool_without_a_free_connection_is_red_and_raises_nothing(quiet: Any) -> None:
    engine = sa.create_engine(db.engine.url, pool_size=1, max_overflow=0, pool_timeout=0.05)
    with engine.connect():
        (problem,) = read_health(engine).problems
    assert problem.reason == "database"
    engine.dispose()


def test_the_extension_has_a_call_for_it(quiet: Any, put: Any) -> None:
    put()
    report = Mail(quiet).health()
    assert (report.is_healthy, report.waiting, report.held) == (True, 1, 0)


def test_the_facts_are_read_by_indexes_alone(quiet: Any, put: Any) -> None:
    put()
    asked: list[Any] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    sa.event.listen(db.engine, "before_cursor_execute", note)
    read_facts(db.engine, ("me@example.com", timedelta(days=90)))
    sa.event.remove(db.engine, "before_cursor_execute", note)
    with db.engine.connect() as connection:
        is_sqlite = connection.dialect.name == "sqlite"
        if not is_sqlite:
            connection.exec_driver_sql("SET enable_seqscan = off")
        for statement, parameters in asked:
            plan = connection.exec_driver_sql(("EXPLAIN QUERY PLAN " if is_sqlite else "EXPLAIN ") + statement, parameters)
            # Two small tables: one row at most, and one row for each worker.
            steps = [row[-1] for row in plan if "mail_health" not in row[-1] and "mail_slowdown" not in row[-1]]
            # SQLite calls a walk along the primary key a scan; its LIMIT ends it at once.
            if "ORDER BY mail_attempt.id DESC" not in statement:
                assert not [step for step in steps if step.startswith("SCAN mail_") and "INDEX" not in step], statement
            assert not [step for step in steps if "Seq Scan on mail_" in step], statement
