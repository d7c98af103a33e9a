"""JSON logs: one object a line, with the ids of the email and of the request that it comes from."""

from __future__ import annotations

import io
import json
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_outbox import Email, JsonFormatter, Message, enqueue, json_logs
from flask_outbox.events import log as events
from flask_outbox.store import outbox as outbox_module
from flask_outbox.store.operations import bulk
from flask_outbox.store.operations.actions import cancel, retry
from flask_outbox.store.operations.operator import Operator
from flask_outbox.testing import reply
from flasky.extensions import csrf, db

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask

    from flask_outbox.testing import SmtpServer


@pytest.fixture
def json_lines(quiet: Flask) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """A function that returns what was logged since it was last called, as JSON; the logging is as ``json_logs`` leaves it."""
    root, library, stream = logging.getLogger(), logging.getLogger("flask_outbox"), io.StringIO()
    before = (root.handlers[:], library.level, events.level)
    root.handlers[:] = [logging.StreamHandler(stream)]
    json_logs(quiet)

    def read() -> list[dict[str, Any]]:
        lines = stream.getvalue().splitlines()
        stream.seek(0)
        stream.truncate()
        return [json.loads(line) for line in lines]

    yield read
    root.handlers[:] = before[0]
    library.setLevel(before[1])
    events.setLevel(before[2])


@pytest.fixture
def request_of(quiet: Flask) -> Callable[..., None]:
    """A function that enqueues an email in a request with this id."""

    @quiet.post("/order")
    @csrf.exempt
    def order() -> str:
        enqueue(Message("hi", ["susan@example.com"], "text" * 20_000, sender="a@example.com"))
        return ""

    return lambda request_id: quiet.test_client().post("/order", headers={"X-Request-ID": request_id})


Lines, Deliver = "Callable[[], list[dict[str, Any]]]", "Callable[[], int]"


def facts(lines: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(line["event"], line.get("email_id"), line.get("request_id")) for line in lines if "event" in line]


@pytest.mark.parametrize("loaded_size", [10, 10**9], ids=["loaded late", "loaded with the claim"])
def test_the_id_of_the_request_reaches_the_worker(
    json_lines: Lines, request_of: Any, deliver: Deliver, loaded_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "LOADED_SIZE", loaded_size)
    request_of("req-1")
    deliver()
    lines = [line for line in json_lines() if "event" in line]
    assert facts(lines) == [("enqueued", 1, "req-1"), ("accepted", 1, "req-1")]
    enqueued, accepted = lines
    assert list(accepted) == ["time", "level", "logger", "message", "process", "event", "email_id", "request_id"]
    assert datetime.fromisoformat(accepted["time"]).utcoffset() == timedelta()
    assert (accepted["level"], accepted["logger"]) == ("debug", "flask_outbox.events")
    assert accepted["message"].startswith("email 1 was accepted: 250")
    assert enqueued["process"].count(":") == 1


@pytest.mark.parametrize(
    ("answer", "event"),
    [("451 4.7.1 <susan@example.com> greylisted", "deferred"), ("550 5.1.1 <susan@example.com> unknown", "failed")],
)
def test_what_goes_wrong_is_about_an_email_too(
    json_lines: Lines, request_of: Any, deliver: Deliver, smtp: SmtpServer, answer: str, event: str
) -> None:
    smtp.on("RCPT", reply(answer))
    request_of("req-2")
    deliver()
    lines = json_lines()
    assert facts(lines)[-1] == (event, 1, "req-2")
    assert "susan@" not in json.dumps(lines)
    assert "s…@example.com" in lines[-1]["message"]


def test_expired_given_up_and_held(json_lines: Lines, put: Any, deliver: Deliver, smtp: SmtpServer, quiet: Flask) -> None:
    put(expires_at=datetime.now(UTC) + timedelta(hours=1))
    put()
    with db.engine.begin() as connection:
        connection.execute(sa.update(Email).where(Email.id == 1).values(expires_at=datetime.now(UTC) - timedelta(hours=1)))
        connection.execute(sa.update(Email).where(Email.id == 2).values(due_since=datetime.now(UTC) - timedelta(days=9)))
    smtp.on("RCPT", reply("451 4.7.1 no"))
    json_lines()
    deliver()
    assert {(event, email_id) for event, email_id, _ in facts(json_lines())} == {("expired", 1), ("deferred", 2), ("failed", 2)}


def test_the_server_goes_and_comes_back(json_lines: Lines, put: Any, deliver: Deliver, smtp: SmtpServer, due: Any) -> None:
    put()
    json_lines()
    smtp.on("CONNECT", reply("554 5.3.2 no service"))
    deliver()
    due_now = json_lines()
    assert [event for event, *_ in facts(due_now)] == ["unavailable"]
    with db.engine.begin() as connection:
        connection.execute(sa.text("UPDATE mail_health SET next_try_at = since"))
    deliver()
    assert [event for event, *_ in facts(json_lines())] == ["accepted", "available"]


def test_the_operators_actions(json_lines: Lines, put: Any, quiet: Flask) -> None:
    put()
    json_lines()
    engine = quiet.extensions["mail"].engine
    cancel(engine, 1)
    retry(engine, 1)
    cancel(engine, 1)
    bulk.run(engine, "retry", "status:cancelled", 1, Operator("susan", "192.0.2.1"))
    assert [(event, email_id) for event, email_id, _ in facts(json_lines())] == [
        ("cancelled", 1),
        ("retried", 1),
        ("cancelled", 1),
        ("retried", None),
    ]


def test_a_rolled_back_email_was_not_enqueued(json_lines: Lines, put: Any) -> None:
    db.session.begin_nested()
    put()
    db.session.rollback()
    assert facts(json_lines()) == []


def test_several_emails_of_one_transaction_are_logged_once_each(json_lines: Lines, put: Any) -> None:
    db.session.begin_nested()
    put()
    put()
    db.session.commit()
    db.session.commit()
    assert [(event, email_id) for event, email_id, _ in facts(json_lines())] == [("enqueued", 1), ("enqueued", 2)]


def test_an_error_is_one_line_with_its_traceback(json_lines: Lines, quiet: Flask) -> None:
    @quiet.get("/broken")
    def broken() -> str:
        quiet.logger.warning("careful\n\u2028%s", "now", extra={"order": 7})
        raise RuntimeError("broken\non purpose")

    quiet.test_client().get("/broken", headers={"X-Request-ID": "req-3"})
    warning, error = json_lines()
    assert (warning["message"], warning["order"], warning["request_id"]) == ("careful\n\u2028now", 7, "req-3")
    assert "RuntimeError: broken" in error["error"]
    assert error["level"] == "error"


def test_values_that_json_does_not_know_are_text() -> None:
    record = logging.makeLogRecord({"msg": "x", "when": datetime(2026, 1, 2, tzinfo=UTC), "half": "\udcff"})
    document = json.loads(JsonFormatter().format(record))
    assert (document["when"], document["half"]) == ("2026-01-02 00:00:00+00:00", "\udcff")


def test_without_json_no_line_is_formatted_for_an_accepted_email(
    put: Any, deliver: Deliver, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        put()
        deliver()
    assert [record for record in caplog.records if record.name.startswith("flask_outbox")] == []
