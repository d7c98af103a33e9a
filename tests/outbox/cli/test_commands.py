"""``flask mail ...``: one line for each error, and never a traceback."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_outbox import Message, enqueue
from flask_outbox.delivery.bells import Bell
from flask_outbox.testing import reply
from flasky.extensions import db
from tests.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from flask_outbox.testing import SmtpServer

SEND = ["mail", "send", "a@b.example", "mail/plain", "-s", "Hi", "-c", "name=Zoë"]


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return with_template(make_app())


@pytest.fixture
def app_on_both(make_app: Callable[..., Flask], database_url: str) -> Flask:
    """One app on SQLite, then one on PostgreSQL."""
    return with_template(make_app(database_url=database_url))


def with_template(app: Flask) -> Flask:
    from jinja2 import ChoiceLoader, DictLoader

    halves = DictLoader({"mail/plain.txt": "Hello {{ name }}!", "mail/plain.html": "<p>Hello {{ name }}!</p>"})
    app.jinja_env.loader = ChoiceLoader([halves, app.jinja_env.loader])
    return app


def fails(result: Any, *words: str) -> None:
    """Check that a command has ended with one line that holds *words*, and not with a traceback."""
    assert result.exit_code != 0
    assert isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    lines = [line for line in result.stderr.strip().splitlines() if not line.startswith(("Usage:", "Try "))]
    assert len([line for line in lines if line]) == 1, result.stderr
    for word in words:
        assert word in result.stderr, result.stderr


def test_send_list_show(app_on_both: Flask, smtp: SmtpServer) -> None:
    runner = app_on_both.test_cli_runner()
    result = runner.invoke(args=SEND)
    assert (result.exit_code, result.output) == (0, "email 1 is in the outbox\n")
    assert "Hello Zoë!" in smtp.accepted[0].message.get_body(("plain",)).get_content()
    result = runner.invoke(args=["mail", "list"])
    assert result.exit_code == 0
    assert result.output.split()[:2] == ["1", "sent"]
    assert result.output.rstrip().endswith("[Flasky] Hi")
    assert "a@b.example" in result.output
    result = runner.invoke(args=["mail", "show", "1"])
    assert result.exit_code == 0
    for words in (
        "status      sent",
        "to          a@b.example",
        "from        flasky@example.com",
        "put into the outbox",
        "sent after",
    ):
        assert words in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["send", "nobody", "mail/plain", "-s", "Hi", "-c", "name=x"], ["recipient 'nobody'", "not an email address"]),
        (["send", "a@b.example\nBcc: c@b.example", "mail/plain", "-s", "Hi", "-c", "name=x"], ["recipient holds a line break"]),
        (["send", "a@b.example", "mail/gone", "-s", "Hi"], ["mail/gone.txt is missing"]),
        (["send", "a@b.example", "mail/plain", "-s", "Hi"], ["'name' is undefined"]),
        (
            ["send", "a@b.example", "mail/plain", "-s", "Hi\nBcc: c@b.example", "-c", "name=x"],
            ["the header Subject holds a line break"],
        ),
        (["send", "a@b.example", "mail/plain", "-s", "\udcff", "-c", "name=x"], ["the header Subject holds a character"]),
        (["send", "a@b.example", "mail/plain", "-s", "Hi", "-c", "name=\udcff"], ["body holds half a surrogate pair"]),
        (["send", "a@b.example", "mail/plain", "-s", "Hi", "-c", "name"], ["write each variable as name=value"]),
        (["send", "a@b.example", "mail/plain", "-s", "Hi", "-c", "=x"], ["write each variable as name=value"]),
        (["send", "a@b.example", "mail/new_user", "-s", "Hi", "-c", "user=x"], ["mail/new_user.txt uses a variable"]),
        (["send", "a@b.example", "mail/plain"], ["Missing option '-s'"]),
        (["send", "a@b.example"], ["Missing argument 'TEMPLATE'"]),
        (["list", "--status", "lost"], ["'lost' is not one of"]),
        (["list", "-n", "0"], ["0 is not in the range"]),
        (["list", "-n", "many"], ["'many' is not a valid integer"]),
        (["show", "1"], ["there is no email 1"]),
        (["show", "-1"], ["-1"]),
        (["show", "x"], ["'x' is not a valid integer"]),
        (["show", "9223372036854775807"], ["there is no email"]),
        (["show", "9" * 30], ["is not in the range"]),
        (["deliver", "now"], ["unexpected extra argument"]),
        (["gone"], ["No such command 'gone'"]),
    ],
    ids=lambda value: " ".join(value)[:50].encode("ascii", "replace").decode(),
)
def test_bad_input_is_one_clear_line_and_stores_nothing(runner: Any, outbox: Any, arguments: list[str], words: list[str]) -> None:
    fails(runner.invoke(args=["mail", *arguments]), *words)
    assert outbox() == []


EVERY = [
    SEND,
    ["mail", "list"],
    ["mail", "list", "--status", "sent"],
    ["mail", "show", "1"],
    ["mail", "why", "a@b.example"],
    ["mail", "health"],
    ["mail", "deliver"],
    ["mail", "cancel", "1"],
    ["mail", "retry", "1"],
    ["mail", "retry", "--failed"],
    ["mail", "purge", "--older-than", "1d"],
]


@pytest.mark.parametrize("arguments", EVERY, ids=" ".join)
def test_without_tables_it_says_how_to_make_them(app_on_both: Flask, arguments: list[str]) -> None:
    with app_on_both.app_context():
        db.drop_all()
    fails(app_on_both.test_cli_runner().invoke(args=arguments), "the outbox has no tables yet", "flask db upgrade")


@pytest.mark.parametrize("arguments", EVERY, ids=" ".join)
def test_without_a_database_server_it_says_so(make_app: Any, tmp_path: Any, monkeypatch: Any, arguments: list[str]) -> None:
    monkeypatch.setattr(db, "create_all", lambda: None)
    app = with_template(make_app(database_url=f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"))
    fails(app.test_cli_runner().invoke(args=arguments), "the database cannot be used", "refused")


@pytest.mark.parametrize("arguments", EVERY, ids=" ".join)
def test_with_a_broken_database_file_it_says_so(make_app: Any, tmp_path: Any, monkeypatch: Any, arguments: list[str]) -> None:
    monkeypatch.setattr(db, "create_all", lambda: None)
    (tmp_path / "broken.sqlite3").write_bytes(b"no database at all" * 100)
    app = with_template(make_app(database_url=f"sqlite:///{tmp_path / 'broken.sqlite3'}"))
    fails(app.test_cli_runner().invoke(args=arguments), "the database cannot be used", "not a database")


def queue(app: Flask, **values: Any) -> None:
    app.extensions["mail"].bell = Bell()
    with app.app_context():
        enqueue(Message("Hi", ["a@b.example"], "text"), **values)


def test_deliver_sends_what_is_due(app: Flask, runner: Any, smtp: SmtpServer) -> None:
    queue(app)
    queue(app, send_at=datetime.now(UTC) + timedelta(hours=1))
    result = runner.invoke(args=["mail", "deliver"])
    assert (result.exit_code, result.output) == (0, "1 email settled, 1 waiting\n")
    assert len(smtp.accepted) == 1


def test_deliver_without_a_server_fails_and_says_why(make_app: Callable[..., Flask]) -> None:
    app = make_app(mail_port=free_port())
    queue(app)
    result = app.test_cli_runner().invoke(args=["mail", "deliver"])
    assert result.stdout == "0 emails settled, 1 waiting\n"
    fails(result, "no email can be sent since", "127.0.0.1")


def test_show_tells_what_happened_and_what_comes_next(app: Flask, runner: Any, smtp: SmtpServer) -> None:
    smtp.on("RCPT", reply("451 4.7.1 greylisted"))
    queue(app)
    assert runner.invoke(args=["mail", "show", "1"]).output.endswith("  to be sent\n")
    runner.invoke(args=["mail", "deliver"])
    output = runner.invoke(args=["mail", "show", "1"]).output
    assert "451 4.7.1 greylisted" in output
    assert "next try" in output.splitlines()[-1]


def test_list_shows_the_newest_first_and_only_so_many(app: Flask, runner: Any) -> None:
    for _ in range(5):
        queue(app)
    lines = runner.invoke(args=["mail", "list", "-n", "3"]).output.splitlines()
    assert [line.split()[0] for line in lines] == ["5", "4", "3"]
    with app.app_context():
        db.session.execute(sa.text("UPDATE mail_email SET status = 'failed' WHERE id = 2"))
        db.session.commit()
    lines = runner.invoke(args=["mail", "list", "--status", "failed"]).output.splitlines()
    assert [line.split()[0] for line in lines] == ["2"]
    assert runner.invoke(args=["mail", "list", "--status", "expired"]).output == ""


@pytest.mark.parametrize("arguments", EVERY, ids=" ".join)
def test_without_a_free_connection_it_says_so(app: Flask, arguments: list[str]) -> None:
    with app.app_context():
        engine = db.engine
    engine.pool = sa.QueuePool(engine.pool._creator, pool_size=1, max_overflow=0, timeout=0.01)
    with engine.connect():
        fails(app.test_cli_runner().invoke(args=arguments), "the database cannot be used", "QueuePool limit")
    engine.dispose()
