"""A bell of the host's own, such as ``deliver_mail.delay`` of a Celery task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from flask_sqlalchemy import SQLAlchemy

from flask_outbox import Mail, enqueue, send_email

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flask import Flask


class Host:
    """An app whose bell counts how often it was rung, and what was committed by then."""

    def __init__(self, app: Flask, in_outbox: Callable[..., list[str]]) -> None:
        self.app, self.db, self._in_outbox = app, SQLAlchemy(app), in_outbox
        self.rung: list[list[str]] = []
        self.mail = Mail(app, bell=self.ring)

    def ring(self) -> None:
        self.rung.append(self._in_outbox(self.db.engine))


@pytest.fixture
def make_host(make_flask: Callable[..., Flask], tmp_path: Path, in_outbox: Any) -> Iterator[Callable[..., Host]]:
    made: list[Host] = []

    def make(**settings: Any) -> Host:
        settings = {"MAIL_DELIVERY": None, "SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path / 'host.sqlite3'}"} | settings
        host = Host(make_flask(**settings), in_outbox)
        with host.app.app_context():
            host.db.create_all()
        made.append(host)
        return host

    yield make
    for host in made:
        with host.app.app_context():
            host.db.session.remove()
            host.db.engine.dispose()


def send(recipient: str = "a@b.example") -> None:
    send_email(recipient, "Hi", "hello", name="susan")


def test_it_is_rung_once_behind_each_commit_with_due_mail(make_host: Callable[..., Host]) -> None:
    host = make_host()
    with host.app.app_context():
        send()
        assert host.rung == [["a@b.example"]]
        host.db.session.begin_nested()
        send("b@b.example")
        send("c@b.example")
        assert len(host.rung) == 1
        host.db.session.commit()
        host.db.session.commit()
        assert host.rung[1:] == [["a@b.example", "b@b.example", "c@b.example"]]
        assert host.mail.deliver() == 3


def test_it_is_not_rung_for_what_was_rolled_back_or_comes_later(make_host: Callable[..., Host]) -> None:
    from datetime import UTC, datetime, timedelta

    from flask_outbox import compose

    host = make_host()
    with host.app.app_context():
        host.db.session.begin_nested()
        send()
        host.db.session.rollback()
        enqueue(compose("a@b.example", "Hi", "hello", name="susan"), send_at=datetime.now(UTC) + timedelta(hours=1))
    assert host.rung == []


@pytest.mark.parametrize("settings", [{"TESTING": True}, {"MAIL_DELIVERY": "manual"}], ids=["testing", "manual"])
def test_with_testing_it_is_left_alone(make_host: Callable[..., Host], settings: dict[str, Any]) -> None:
    host = make_host(**settings)
    with host.app.app_context():
        send()
    assert host.rung == []


def test_no_thread_is_started_beside_it(make_host: Callable[..., Host]) -> None:
    host = make_host()
    assert not host.app.extensions["mail"].bell.is_local
    assert host.app.before_request_funcs == {}


def test_an_error_of_the_bell_is_logged_and_the_email_is_stored(
    make_host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, in_outbox: Any
) -> None:
    monkeypatch.setattr(Host, "ring", lambda self: [].pop())
    host = make_host()
    with host.app.app_context():
        send()
        assert in_outbox(host.db.engine) == ["a@b.example"]
    assert "the bell failed after a commit; the email is stored" in caplog.text
    assert "pop from empty list" in caplog.text
