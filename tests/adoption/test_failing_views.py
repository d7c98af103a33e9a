"""A view that fails after send_email: its work is discarded, and nobody is told to commit."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask, abort
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import scoped_session, sessionmaker

from flask_outbox import Email, Mail, send_email

if TYPE_CHECKING:
    from collections.abc import Callable

BLAME = "call db.session.commit()"


def raise_error() -> str:
    raise LookupError


def answer_400() -> tuple[str, int]:
    return "no", 400


def abort_404() -> str:
    abort(404)


FAILURES = [raise_error, abort_404, answer_400]


@pytest.fixture(params=["Flask-SQLAlchemy", "scoped_session"])
def host(request: pytest.FixtureRequest, make_flask: Callable[..., Flask], make_engine: Any, sqlalchemy_url: str) -> Flask:
    app = make_flask()
    engine = make_engine(sqlalchemy_url)
    Email.metadata.create_all(engine)
    if request.param == "scoped_session":
        current = scoped_session(sessionmaker(engine))
        Mail(app, db=current)
        # Registered last, so that it runs before whatever an extension has registered.
        app.teardown_appcontext(lambda _: current.remove())
        app.config["SESSION"] = lambda: current
        return app
    app.config["SQLALCHEMY_DATABASE_URI"] = sqlalchemy_url
    db = SQLAlchemy(app)
    Mail(app)
    app.config["SESSION"] = lambda: db.session
    return app


def serve(host: Flask, end: Callable[[], Any]) -> None:
    def view() -> Any:
        host.config["SESSION"]().begin_nested()
        send_email("a@b.example", "Hi", "hello", name="susan")
        return end()

    host.add_url_rule("/", view_func=view)
    host.test_client().get("/")


@pytest.mark.parametrize("end", FAILURES)
@pytest.mark.parametrize("propagate", [True, False])
def test_it_does_not_ask_for_a_commit(
    host: Flask, caplog: pytest.LogCaptureFixture, end: Callable[[], Any], propagate: bool
) -> None:
    caplog.set_level(logging.INFO)
    host.config["PROPAGATE_EXCEPTIONS"] = propagate
    if propagate and end is raise_error:
        with pytest.raises(LookupError):
            serve(host, end)
    else:
        serve(host, end)
    assert BLAME not in caplog.text
    assert "1 email discarded" in caplog.text


def test_a_view_that_forgets_its_commit_is_told(host: Flask, caplog: pytest.LogCaptureFixture) -> None:
    serve(host, lambda: "fine")
    assert BLAME in caplog.text


def test_a_request_that_failed_excuses_no_other(host: Flask, caplog: pytest.LogCaptureFixture) -> None:
    serve(host, answer_400)
    assert BLAME not in caplog.text
    host.view_functions["view"] = lambda: (
        host.config["SESSION"]().begin_nested(),
        send_email("a@b.example", "Hi", "hello", name="susan"),
        "fine",
    )[-1]
    host.test_client().get("/")
    assert BLAME in caplog.text


def test_a_command_that_fails_is_not_told(host: Flask, caplog: pytest.LogCaptureFixture) -> None:
    @host.cli.command("work")
    def work() -> None:
        host.config["SESSION"]().begin_nested()
        send_email("a@b.example", "Hi", "hello", name="susan")
        raise LookupError

    assert isinstance(host.test_cli_runner().invoke(args=["work"]).exception, LookupError)
    assert BLAME not in caplog.text
