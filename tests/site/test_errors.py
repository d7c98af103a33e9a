"""Whatever goes wrong: a page in the site's look that says what to do, and nothing that is nobody's business."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from flask import abort

from flasky.extensions import db
from flasky.models import User
from tests.conftest import KEY
from tests.site.visiting import signed_in, token

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flask import Flask

    from flask_outbox.testing import SmtpServer

LOOK = 'class="site-header"'
SECRET = "something-that-only-the-log-may-know"


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """The site, with pages of its own on which things go wrong."""
    app = make_app()

    @app.get("/break/<path:what>")
    def go_wrong(what: str) -> str:
        if what == "unknown":
            raise RuntimeError(SECRET)
        if what == "integrity":
            db.session.add(User(username=None, email=None))
            db.session.flush()
        if what == "statement":
            db.session.add_all([User(username=SECRET), User(username=SECRET)])
            db.session.flush()
        abort(int(what), description="" if int(what) in {500, 503} else None)

    return app


def title_of(answer: Any) -> str:
    return str(answer.text.partition("<h1>")[2].partition("</h1>")[0])


@pytest.mark.parametrize(
    ("method", "path", "status", "title"),
    [
        ("POST", "/", 400, "The form has expired"),
        ("GET", "/break/400", 400, "Bad request"),
        ("GET", "/break/403", 403, "Access denied"),
        ("GET", "/nothing", 404, "Page not found"),
        ("GET", "/static/nothing.css", 404, "Page not found"),
        ("GET", "/static/../flasky/models.py", 404, "Page not found"),
        ("GET", "/<script>alert(1)</script>", 404, "Page not found"),
        ("DELETE", "/", 405, "Method not allowed"),
        ("GET", "/auth/sign-out", 405, "Method not allowed"),
        ("GET", "/break/413", 413, "Too large"),
        ("GET", "/break/418", 418, "I&#39;m a teapot"),
        ("GET", "/break/429", 429, "Too many tries"),
        ("GET", "/break/500", 500, "Something went wrong"),
        ("GET", "/break/503", 503, "Temporarily unavailable"),
    ],
)
def test_every_error_has_a_page_in_the_sites_look(client: Any, method: str, path: str, status: int, title: str) -> None:
    answer = client.open(path, method=method)
    assert answer.status_code == status
    assert title_of(answer) == title
    assert LOOK in answer.text
    assert answer.content_type == "text/html; charset=utf-8"
    assert "<script>" not in answer.text


def test_a_method_that_is_not_taken_is_answered_with_those_that_are(client: Any) -> None:
    assert set(client.delete("/").headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"])
def test_a_body_that_is_too_large_is_refused_unread(client: Any, content_type: str) -> None:
    answer = client.post("/", data=b"name=" + b"x" * 70_000, content_type=content_type)
    assert answer.status_code in ({413} if content_type != "text/plain" else {400, 413})
    assert LOOK in answer.text


@pytest.mark.parametrize("what", ["unknown", "integrity"])
@pytest.mark.parametrize("visitor", ["stranger", "somebody"])
def test_a_fault_of_ours_is_logged_and_not_shown(app: Flask, what: str, visitor: str, caplog: pytest.LogCaptureFixture) -> None:
    client = app.test_client() if visitor == "stranger" else signed_in(app)
    answer = client.get(f"/break/{what}")
    assert answer.status_code == 500
    assert title_of(answer) == "Something went wrong"
    assert LOOK in answer.text
    for leak in (SECRET, KEY, "Traceback", "Error", "sqlalchemy", str(app.root_path)):
        assert leak not in answer.text
    assert [record for record in caplog.records if record.exc_info]


def test_not_even_the_log_shows_what_a_statement_was_given(client: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert client.get("/break/statement").status_code == 500
    assert "INSERT INTO users" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize("visitor", ["stranger", "somebody"])
def test_a_database_that_is_away_is_said_so(app: Flask, visitor: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    client = app.test_client() if visitor == "stranger" else signed_in(app)
    data = {"name": "susan", "csrf_token": token(client)}
    with app.app_context():
        db.engine.dispose()
    for file in tmp_path.glob("test.sqlite3*"):
        file.unlink()
    (tmp_path / "test.sqlite3").mkdir()
    for answer in (client.post("/", data=data), client.get("/")) if visitor == "somebody" else (client.post("/", data=data),):
        assert (answer.status_code, title_of(answer)) == (503, "Temporarily unavailable")
        assert LOOK in answer.text
    assert "the database cannot be used" in caplog.text
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("path", ["/", "/auth/sign-in", "/admin/rq/", "/admin", "/nothing", "/static/flasky.css"])
def test_a_request_for_a_foreign_host_gets_400_and_no_link_to_it(client: Any, path: str) -> None:
    for host in (
        "evil.example",
        "localhost.evil.example",
        "evil.example:80",
        "a b",
        "localhost@evil.example",
        "[::1]",
        "127.0.0.1",
    ):
        answer = client.get(path, headers={"Host": host})
        assert answer.status_code == 400, host
        assert "evil" not in answer.text
        assert "Location" not in answer.headers


@pytest.mark.parametrize("host", ["localhost", "localhost:5000", "www.example.com"])
def test_the_sites_own_hosts_are_answered(make_app: Callable[..., Flask], host: str) -> None:
    client = make_app(flasky_trusted_hosts=("www.example.com",)).test_client()
    assert client.get("/", headers={"Host": host}).status_code == 200


def test_development_answers_to_loopback(make_app: Callable[..., Flask]) -> None:
    client = make_app(flasky_dev=True).test_client()
    for host in ("localhost:5000", "127.0.0.1:5000"):
        assert client.get("/", headers={"Host": host}).status_code == 200, host
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 400


def test_a_foreign_host_is_told_to_the_operator_with_what_to_do(client: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        client.get("/", headers={"Host": "evil.example\x7f"})
        client.get("/", headers={"Host": "evil.example"})
    assert "FLASKY_TRUSTED_HOSTS" in caplog.records[-1].message
    assert "'evil.example'" in caplog.records[-1].message


def test_mail_links_to_the_base_url_whatever_the_host_header_says(make_app: Callable[..., Flask], smtp: SmtpServer) -> None:
    app = make_app(flasky_base_url="http://flasky.example", flasky_trusted_hosts=("alias.example",))
    client = app.test_client()
    alias = {"base_url": "http://alias.example"}
    assert client.post("/", data={"name": "susan", "csrf_token": token(client, **alias)}, **alias).status_code == 302
    (mail,) = smtp.wait_for(1)
    assert "http://flasky.example/" in mail.message.get_body(("plain",)).get_content()
    assert b"alias.example" not in mail.source
