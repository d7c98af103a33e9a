"""``flask mail why | health | cancel | retry | purge``, as the operator types them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_outbox import Email
from flask_outbox.store.models import Audit
from flask_outbox.testing import SmtpServer, drop, reply
from flasky.extensions import db

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

pytestmark = pytest.mark.usefixtures("quiet")
Put, Read = "Callable[..., Email]", "Callable[[], Any]"


@pytest.fixture
def run(quiet: Flask) -> Callable[..., Any]:
    return lambda *words: quiet.test_cli_runner().invoke(args=["mail", *words])


def test_why_tells_everything_about_one_address_newest_first(run: Any, put: Put, deliver: Read, smtp: SmtpServer) -> None:
    smtp.on("RCPT", reply("451 4.7.1 greylisted"))
    put("susan@example.com")
    put("susan@example.com", send_at=datetime.now(UTC) + timedelta(hours=1))
    put("other@example.com")
    deliver()
    output = run("why", "Susan <susan@example.com>").output
    assert [line.split()[1] for line in output.splitlines() if line.startswith("email")] == ["2", "1"]
    assert "451 4.7.1 greylisted" in output
    assert "next try" in output
    assert "other@" not in output


@pytest.mark.parametrize("asked", ["susan@example.com", "Susan@Example.com", "SUSAN@EXAMPLE.COM"])
def test_why_finds_an_address_however_it_is_capitalized(run: Any, put: Put, asked: str) -> None:
    put("Susan@example.com")
    put("susan@example.com")
    output = run("why", asked).output
    assert [line.split()[1] for line in output.splitlines() if line.startswith("email")] == ["2", "1"]


def test_why_knows_nothing_of_a_stranger(run: Any) -> None:
    result = run("why", "nobody@example.com")
    assert result.exit_code == 1
    assert "the outbox has no email to this address" in result.stderr
    assert run("why", "no address").exit_code == 1


def test_health_counts_and_says_that_all_is_well(run: Any, put: Put, deliver: Read) -> None:
    put()
    deliver()
    put()
    result = run("health")
    assert result.exit_code == 0
    assert [line.split() for line in result.output.splitlines()[:2]] == [["queued", "1"], ["sent", "1"]]
    assert "due since" in result.output


def test_health_says_since_when_and_why_no_mail_goes_out(run: Any, put: Put, deliver: Read, smtp: SmtpServer) -> None:
    put()
    smtp.on("MAIL", reply("530 5.7.0 Authentication required"), always=True)
    deliver()
    result = run("health")
    assert result.exit_code == 1
    assert "our own configuration is refused: 530 5.7.0 Authentication required" in result.stderr


def test_health_is_red_without_a_worker_and_says_what_to_do(run: Any, put: Put) -> None:
    put()
    with db.engine.begin() as connection:
        connection.execute(sa.update(Email).values(send_at=datetime.now(UTC) - timedelta(hours=1)))
    result = run("health")
    assert result.exit_code == 1
    assert result.stderr.startswith("no email can be sent since ")
    assert "no worker delivers" in result.stderr
    assert "flask mail worker" in result.stderr
    assert result.stderr.count("\n") == 1


def test_health_is_also_told_to_programs(run: Any, put: Put, deliver: Read, smtp: SmtpServer) -> None:
    put()
    result = run("health", "--json")
    report = json.loads(result.output)
    assert (result.exit_code, report["is_healthy"], report["problems"], report["waiting"]) == (0, True, [], 1)
    smtp.on("MAIL", reply("530 5.7.0 Authentication required"), always=True)
    deliver()
    result = run("health", "--json")
    (problem,) = json.loads(result.output)["problems"]
    assert (result.exit_code, problem["reason"]) == (1, "configuration")
    assert datetime.fromisoformat(problem["since"]) < datetime.now(UTC)
    assert problem["remedy"]


def test_deliver_does_not_wait_for_the_next_try(run: Any, put: Put, deliver: Read, smtp: SmtpServer, statuses: Read) -> None:
    put()
    smtp.on("CONNECT", drop)
    deliver()
    assert run("deliver").exit_code == 0
    assert statuses() == ["sent"]


def test_cancel_and_retry(run: Any, put: Put, deliver: Read, statuses: Read, quiet: Flask) -> None:
    put()
    assert run("cancel", "1").output == "email 1 cancelled\n"
    assert statuses() == ["cancelled"]
    again = run("cancel", "1")
    assert (again.exit_code, "it is cancelled" in again.stderr) == (1, True)
    rung = quiet.extensions["mail"].bell.count
    assert run("retry", "1").output == "1 email queued again\n"
    assert quiet.extensions["mail"].bell.count == rung + 1
    deliver()
    assert statuses() == ["sent"]


def test_retry_all_that_failed(run: Any, put: Put, deliver: Read, statuses: Read, smtp: SmtpServer) -> None:
    smtp.on("RCPT", reply("550 5.1.1 no"), reply("550 5.1.1 no"))
    for _ in range(3):
        put()
    deliver()
    assert run("retry", "--failed").output == "2 emails queued again\n"
    assert statuses() == ["queued", "queued", "sent"]
    assert run("retry", "--held").output == "0 emails queued again\n"


def test_the_audit_has_what_the_commands_do(run: Any, put: Put, deliver: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "susan")
    email = put()
    run("cancel", str(email.id))
    run("retry", str(email.id))
    run("cancel", str(email.id))
    deliver()
    with db.engine.begin() as connection:
        connection.execute(sa.update(Email).values(status="failed", finished_at=datetime.now(UTC) - timedelta(days=31)))
    run("retry", "--failed")
    with db.engine.begin() as connection:
        connection.execute(sa.update(Email).values(status="sent", finished_at=datetime.now(UTC) - timedelta(days=31)))
    run("purge", "--older-than", "30d")
    done = db.session.execute(sa.select(Audit).order_by(Audit.id)).scalars().all()
    assert [(one.action, one.changed, one.search) for one in done] == [
        ("cancel", 1, None),
        ("retry", 1, None),
        ("cancel", 1, None),
        ("retry", 1, "status:failed"),
        ("purge", 0, None),
    ]
    assert {one.actor for one in done} == {"susan"}
    assert done[-1].detail == "1 deleted: finished more than 30 days before"
    assert all(one.address.endswith(one.action) for one in done)


def test_a_user_without_a_name_is_somebody(run: Any, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: {}["no such user"])
    run("cancel", str(put().id))
    assert db.session.scalars(sa.select(Audit.actor)).all() == ["somebody"]


@pytest.mark.parametrize("words", [("retry",), ("retry", "1", "--failed"), ("retry", "0"), ("cancel", "x"), ("purge",)])
def test_bad_words_get_a_sentence(run: Any, words: tuple[str, ...]) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert "Error: " in result.stderr


@pytest.mark.parametrize(("age", "left"), [("30d", 0), ("30 days", 0), ("32d", 1), ("1h", 0)])
def test_purge_goes_by_the_end_of_an_email(run: Any, put: Put, deliver: Read, age: str, left: int, statuses: Read) -> None:
    put()
    deliver()
    with db.engine.begin() as connection:
        connection.execute(sa.update(Email).values(finished_at=datetime.now(UTC) - timedelta(days=31)))
    assert run("purge", "--older-than", age).output == ("0 emails deleted\n" if left else "1 email deleted\n")
    assert len(statuses()) == left


def test_purge_wants_to_know_how_long(run: Any) -> None:
    assert "write it as 30d, 12h or 45m" in run("purge", "--older-than", "long").stderr
