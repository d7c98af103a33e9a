"""Each email says which request, or which command, has enqueued it."""

from __future__ import annotations

import pytest
from flask import Flask

from flask_outbox import Email, Message, enqueue
from flask_outbox.origin import Origin, current_origin
from flasky.extensions import csrf, db


def test_an_email_names_the_route_and_the_request_but_not_the_path(app: Flask) -> None:
    @app.post("/reset/<token>")
    @csrf.exempt
    def reset(token: str) -> str:
        return str(enqueue(Message("Hi", ["a@b.example"], "text"))[0].id)

    response = app.test_client().post("/reset/s3cret", headers={"X-Request-ID": "req-1.2"})
    with app.app_context():
        content = db.session.get_one(Email, int(response.text)).content
        assert (content.request_id, content.origin) == ("req-1.2", "POST /reset/<token>")


@pytest.mark.parametrize("given", ["", "x" * 101, "a b", "<script>", "ü"])
def test_a_request_id_that_is_no_plain_id_is_replaced(app: Flask, given: str) -> None:
    with app.test_request_context(headers={"X-Request-ID": given}):
        first = current_origin()
        assert first == current_origin()
        assert first.request_id not in {given, None}
        assert len(first.request_id or "") == 32


def test_outside_of_a_request_nothing_is_known(app: Flask) -> None:
    with app.app_context():
        assert current_origin() == Origin(None, None)


def test_a_command_is_named(app: Flask) -> None:
    @app.cli.command("greet")
    def greet() -> None:
        enqueue(Message("Hi", ["a@b.example"], "text"))

    app.test_cli_runner().invoke(args=["greet"])
    with app.app_context():
        assert str(db.session.query(Email).one().content.origin).endswith("greet")
