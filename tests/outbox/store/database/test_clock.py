"""A web host whose clock is wrong: on PostgreSQL an email is due by the database's clock; on SQLite the host's is the only one."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from jinja2 import DictLoader

from flask_outbox import Email, Message, enqueue
from flask_outbox.store.models import Content
from flasky.extensions import db
from flasky.models import User
from tests.outbox.conftest import Bell

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flask import Flask

    from flask_outbox.testing import SmtpServer

WRONG_BY = timedelta(minutes=10)


@pytest.fixture(params=[WRONG_BY, -WRONG_BY], ids=["ahead", "behind"])
def wrong_clock(quiet: Flask, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every module of the library sees a host's clock that is ten minutes ahead, or behind."""

    class WrongClock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + request.param

    for name, module in list(sys.modules.items()):
        if name.startswith("flask_outbox.") and getattr(module, "datetime", None) is datetime:
            monkeypatch.setattr(module, "datetime", WrongClock)


def send(*recipients: str) -> list[Email]:
    return enqueue(Message("hi", list(recipients), "text", sender="a@example.com"))


def send_alone() -> list[Email]:
    return send("b@example.com")


def send_to_two() -> list[Email]:
    return send("b@example.com", "c@example.com")


def join() -> list[Email]:
    db.session.add(User(username="susan"))
    sent = send("b@example.com", "c@example.com")
    db.session.commit()
    return sent


def stored_times() -> list[Any]:
    chosen = sa.select(Email.send_at, Email.due_since, Email.created_at, Content.created_at).join(Content)
    with db.engine.connect() as connection:
        return list(connection.execute(chosen.order_by(Email.id)))


@pytest.mark.usefixtures("wrong_clock")
@pytest.mark.parametrize("how", [send_alone, send_to_two, join])
def test_a_wrong_clock_delays_no_mail(
    quiet: Flask, how: Callable[[], list[Email]], smtp: SmtpServer, deliver: Callable[[], int]
) -> None:
    sent = how()
    assert deliver() == len(sent) == len(smtp.accepted)
    if db.engine.dialect.name == "postgresql":
        for moment in (moment for row in stored_times() for moment in row):
            assert abs(moment - datetime.now(UTC)) < timedelta(minutes=1)
    bell = quiet.extensions["mail"].bell
    assert isinstance(bell, Bell)
    assert bell.count == 1


@pytest.mark.usefixtures("wrong_clock")
def test_a_wrong_clock_delays_no_large_sending(quiet: Flask, tmp_path: Path, smtp: SmtpServer, deliver: Callable[[], int]) -> None:
    quiet.jinja_loader = DictLoader({"letter.txt": "Hello", "letter.html": "Hello"})
    recipients = tmp_path / "recipients.csv"
    recipients.write_text("email\nb@example.com\nc@example.com\n")
    done = quiet.test_cli_runner().invoke(args=["mail", "send-many", "letter", str(recipients), "--subject", "hi"])
    assert done.exit_code == 0, done.output
    deliver()
    assert len(smtp.accepted) == 2


@pytest.mark.parametrize("how", [send_alone, send_to_two, join])
def test_an_email_shows_the_times_that_the_database_has_set(quiet: Flask, how: Callable[[], list[Email]]) -> None:
    statements: list[str] = []
    sent = how()
    sa.event.listen(db.engine, "before_cursor_execute", lambda *words: statements.append(words[2]))
    shown = [(email.send_at, email.due_since, email.created_at, email.content.created_at) for email in sent]
    if how is not join:  # there, the caller's commit has expired its objects
        assert not statements
    assert shown == [tuple(row) for row in stored_times()]
    for send_at, due_since, *_ in shown:
        assert send_at == due_since
        assert abs(send_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_an_email_that_joins_shows_its_times_after_the_flush(quiet: Flask) -> None:
    db.session.add(User(username="susan"))
    (email,) = send_alone()
    db.session.flush()
    statements: list[str] = []
    sa.event.listen(db.engine, "before_cursor_execute", lambda *words: statements.append(words[2]))
    assert email.send_at == email.due_since == email.created_at
    assert not statements


def test_a_given_time_stays(quiet: Flask) -> None:
    moment = datetime(2030, 1, 1, 12, tzinfo=UTC)
    (email,) = enqueue(Message("hi", ["b@example.com"], "text", sender="a@example.com"), send_at=moment)
    assert email.send_at == email.due_since == moment
    assert stored_times()[0][:2] == (moment, moment)
    assert abs(email.created_at - datetime.now(UTC)) < timedelta(minutes=1)
