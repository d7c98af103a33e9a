"""``--json``: one document, with the names that the guide describes, and without bodies."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from flask_outbox import Message, enqueue
from flask_outbox.testing import reply
from flasky.config import ROOT
from flasky.extensions import db

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from flask_outbox.testing import SmtpServer

GUIDE = (ROOT / "docs/guides/json.md").read_text()
TIMES = {"created_at", "send_at", "expires_at", "finished_at", "started_at", "at"}


@pytest.fixture
def run(quiet: Flask) -> Callable[..., Any]:
    return lambda *words: quiet.test_cli_runner().invoke(args=["mail", *words, "--json"])


def described(*commands: str) -> list[list[str]]:
    """Return the names in each table of a command's section in the guide."""
    section = next(part for part in GUIDE.split("\n## ")[1:] if f"`flask mail {commands[0]}`" in part.splitlines()[0])
    tables = re.findall(r"^\| name \| value \|\n\|---\|---\|\n((?:\|.*\n?)+)", section, re.MULTILINE)
    return [re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) for table in tables]


def test_list_has_the_names_of_the_guide(run: Any, put: Callable[..., Any]) -> None:
    put()
    put(secret=True)
    document = json.loads(run("list").output)
    assert list(document) == ["emails"]
    assert [(email["id"], email["is_secret"]) for email in document["emails"]] == [(2, True), (1, False)]
    assert [list(email) for email in document["emails"]] == described("list") * 2
    assert json.loads(run("list", "--status", "failed").output) == {"emails": []}


def test_show_and_why_tell_every_attempt(run: Any, put: Any, deliver: Any, smtp: SmtpServer) -> None:
    smtp.on("RCPT", reply("451 4.7.1 greylisted"))
    put("Susan@example.com")
    deliver()
    document = json.loads(run("show", "1").output)
    own, attempt = described("show")
    assert list(document) == described("list")[0] + own
    assert [list(one) for one in document["attempts"]] == [attempt]
    assert (document["attempts"][0]["code"], document["attempts"][0]["enhanced"]) == (451, "4.7.1")
    assert [list(event) for event in document["history"]] == [["at", "what"]] * 3
    assert document["history"][-1]["what"] == "next try"
    assert json.loads(run("why", "susan@example.com").output) == {"emails": [document]}


def test_times_are_in_utc(run: Any, put: Any, deliver: Any) -> None:
    put()
    deliver()
    document = json.loads(run("show", "1").output)
    parts = [document, *document["attempts"], *document["history"]]
    times = [value for part in parts for name, value in part.items() if name in TIMES and value is not None]
    assert len(times) == 7
    assert {datetime.fromisoformat(value).utcoffset() for value in times} == {timedelta()}


def test_no_body_is_printed(run: Any, quiet: Flask) -> None:
    enqueue(Message("Your code", ["b@example.com"], "the-code-itself", sender="a@example.com"), secret=True)
    output = run("list").output + run("show", "1").output + run("why", "b@example.com").output
    assert "Your code" in output
    assert "the-code-itself" not in output


def test_why_without_an_email_is_an_empty_list_and_an_exit_code(run: Any) -> None:
    result = run("why", "nobody@example.com")
    assert (result.exit_code, json.loads(result.output)) == (1, {"emails": []})


def test_show_without_an_email_is_an_error(run: Any) -> None:
    result = run("show", "1")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "there is no email 1" in result.stderr


def test_check_lists_each_difference(run: Any) -> None:
    assert json.loads(run("check").output) == {"is_as_expected": True, "differences": []}
    with db.engine.begin() as connection:
        connection.exec_driver_sql("DROP INDEX ix_mail_email_status")
    result = run("check")
    document = json.loads(result.output)
    assert (result.exit_code, [list(document)]) == (1, described("check"))
    (difference,) = document["differences"]
    assert (difference["what"], difference["remedy"]) == ("index on mail_email (status, id) is missing", "create it")
    assert difference["statements"][0].startswith("CREATE INDEX")


def test_health_and_doctor_have_the_names_of_the_guide(run: Any) -> None:
    assert [list(json.loads(run("health").output))] == described("health")
    assert [list(json.loads(run("doctor", "--nameserver", "127.0.0.1:9").output))] == described("doctor")


def test_lint_has_the_names_of_the_guide(run: Any) -> None:
    document = json.loads(run("lint").output)
    assert [list(document), list(document["findings"][0])] == described("lint")


def test_the_guide_describes_every_command_with_json(quiet: Flask) -> None:
    commands: Any = quiet.cli.commands["mail"]
    with_json = {name for name, command in commands.commands.items() if any("--json" in option.opts for option in command.params)}
    assert with_json >= {"list", "show", "why", "check", "health", "doctor"}
    headings = " ".join(re.findall(r"^## (.*)", GUIDE, re.MULTILINE))
    assert set(re.findall(r"`flask mail ([a-z-]+)`", headings)) == with_json
