"""``flask mail status``: the overview in a terminal, and for programs."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_outbox import Email
from flask_outbox.store.models import Worker
from flask_outbox.testing import SmtpServer, reply
from flasky.extensions import db

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def run(quiet: Flask) -> Callable[..., Any]:
    return lambda *words, **env: quiet.test_cli_runner().invoke(args=["mail", "status", *words], env=env)


def test_the_status_of_an_outbox_that_works(run: Any, put: Any, deliver: Any, smtp: SmtpServer) -> None:
    smtp.on("RCPT", reply("550 5.1.1 no user 7"), reply("451 4.7.1 later"))
    for _ in range(3):
        put()
    deliver()
    put()
    result = run(COLUMNS="120")
    assert result.exit_code == 0, result.output
    lines = {line[:13].strip(): line[13:] for line in result.output.splitlines()}
    assert result.output.startswith("Mail goes out. 1 waiting, the oldest for ")
    assert lines["emails"] == "1 failed, 2 queued, 1 sent"
    assert lines["last hour"].split() == lines["last week"].split() == ["1", "1", "1"]
    assert "95 of 100 within" in lines["delivery"]
    assert lines["server"].endswith(", no problem known")
    assert lines["failed"] == "1 email: 550 5.1.1 no user …"
    assert (lines["redis"], lines["worker"]) == ("not used", "none is running")


def test_the_status_is_red_with_the_reason_and_what_to_do(run: Any, put: Any) -> None:
    put()
    with db.engine.begin() as connection:
        connection.execute(sa.update(Email).values(send_at=datetime.now(UTC) - timedelta(hours=1)))
    result = run()
    assert result.exit_code == 1
    assert result.output.startswith("Mail does not go out. 1 waiting, the oldest for 1 hour.\nproblem      no worker delivers")
    assert "what to do   Start what delivers" in result.output


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal(run: Any, put: Any, deliver: Any, smtp: SmtpServer, columns: int) -> None:
    smtp.on("RCPT", reply("550 5.1.1 " + "no such user here and a long text about it " * 4))
    put()
    put()
    deliver()
    lines = run(COLUMNS=str(columns)).output.splitlines()
    assert max(map(len, lines)) <= max(columns, 49)


def test_what_strangers_have_written_cannot_move_the_cursor(run: Any) -> None:
    now = datetime.now(UTC)
    with db.engine.begin() as connection:
        connection.execute(sa.insert(Worker).values(name="w\x1b[2J", started_at=now, seen_at=now, doing="x\ry\x9b"))
    output = run().output
    assert output.isprintable() or not {"\x1b", "\r", "\x9b"} & set(output)
    assert "w [2J" in output


def test_the_status_is_also_told_to_programs(run: Any, put: Any, deliver: Any, quiet: Flask) -> None:
    put()
    deliver()
    found = json.loads(run("--json", "--period", "hour").output)
    assert found["is_healthy"] is True
    assert found["counts"] == {"sent": 1}
    assert sum(step["sent"] for step in found["activity"]["hour"]) == 1
    assert len(found["activity"]["day"]) == 24
    assert found["delivery_time"]["count"] == 1
    assert datetime.fromisoformat(found["as_of"]) <= datetime.now(UTC)


def test_without_a_database_the_status_says_so(run: Any) -> None:
    with db.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE mail_email RENAME TO lost"))
    try:
        result = run()
        assert result.exit_code == 1
        assert "the outbox has no tables yet" in result.output
        assert json.loads(run("--json").output)["is_healthy"] is False
    finally:
        with db.engine.begin() as connection:
            connection.execute(sa.text("ALTER TABLE lost RENAME TO mail_email"))
