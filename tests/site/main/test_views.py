"""The name form: what a visitor sees, what is remembered, and what is written to the administrator."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
import unicodedata
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from markupsafe import escape
from sqlalchemy import event

from flasky.extensions import db
from flasky.models import User
from tests.servers import wait_until
from tests.site.visiting import fill, token

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flask import Flask

    from flask_outbox.testing import SmtpServer
    from flasky.mail import Email
    from tests.servers import RedisServer


def names(app: Flask) -> list[str | None]:
    with app.app_context():
        return list(db.session.scalars(sa.select(User.username).order_by(User.id)))


def session_of(client: Any) -> dict[str, Any]:
    with client.session_transaction() as session:
        return {key: session.get(key) for key in ("name", "known")}


def test_a_stranger_is_greeted_and_asked_for_a_name(client: Any) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert "Hello, Stranger!" in page.text
    assert "What is your name?" in page.text


def test_a_new_name_is_remembered_and_the_administrator_is_written_to(app: Flask, client: Any, smtp: SmtpServer) -> None:
    answer = fill(client, name="susan")
    assert (answer.status_code, answer.location) == (302, "/")
    assert session_of(client) == {"name": "susan", "known": False}
    assert names(app) == ["susan"]
    (mail,) = smtp.wait_for(1)
    assert mail.recipient == "admin@example.com"
    assert mail.message["Subject"] == "[Flasky] New User"
    assert "User susan has joined." in mail.message.get_body(("plain",)).get_content()
    assert "User <strong>susan</strong> has joined." in mail.message.get_body(("html",)).get_content()
    page = client.get("/").text
    assert "Hello, susan!" in page
    assert "Pleased to meet you!" in page


def test_a_known_name_is_greeted_again_and_nothing_is_written(app: Flask, client: Any, outbox: Callable[[], list[Email]]) -> None:
    fill(client, name="susan")
    other = app.test_client()
    assert fill(other, name="susan").status_code == 302
    assert session_of(other) == {"name": "susan", "known": True}
    assert "Happy to see you again!" in other.get("/").text
    assert names(app) == ["susan"]
    assert len(outbox()) == 1


def test_reloading_after_the_redirect_posts_nothing_again(client: Any, outbox: Callable[[], list[Email]]) -> None:
    page = client.post("/", data={"csrf_token": token(client), "name": "susan"}, follow_redirects=True)
    assert [page.request.method, page.request.path] == ["GET", "/"]
    assert "Pleased to meet you!" in client.get("/").text
    assert len(outbox()) == 1


def test_without_an_administrator_nobody_is_written_to(make_app: Callable[..., Flask], smtp: SmtpServer) -> None:
    app = make_app(flasky_admin="")
    assert fill(app.test_client(), name="susan").status_code == 302
    assert names(app) == ["susan"]
    assert not smtp.accepted


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("  susan \t", "susan"),
        ("\u2003智子\u3000", "智子"),
        ("Zoe\u0308", "Zoë"),
        ("\u1112\u1161\u11ab", "한"),
        ("O'Brien & <b>Søn</b>", "O'Brien & <b>Søn</b>"),
        ("Anne Marie", "Anne Marie"),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"),
        ("🦊" * 64, "🦊" * 64),
        ("e\u0301" * 64, "é" * 64),
        # Unicode 15, newer than the table of some Pythons.
        ("\U0001fae8", "\U0001fae8"),
    ],
)
def test_a_name_is_kept_in_nfc_without_blanks_around_it(app: Flask, client: Any, typed: str, kept: str) -> None:
    answer = fill(client, name=typed)
    assert answer.status_code == 302, answer.text
    assert names(app) == [kept]
    assert unicodedata.is_normalized("NFC", kept)
    assert str(escape(kept)) in client.get("/").text


def test_two_spellings_of_one_name_are_one_name(app: Flask, client: Any) -> None:
    for spelling in ("Zoë", "Zoe\u0308", " Zoë "):
        fill(client, name=spelling)
    assert names(app) == ["Zoë"]


BAD_NAMES = {
    "empty": ("", "Please enter a name."),
    "blanks": (" \t ", "Please enter a name."),
    "wide blanks": ("\u3000\u2003\u00a0", "Please enter a name."),
    "nothing to see": ("\u200b\u2060\ufeff", "Please enter a name."),
    "blank letters": ("\u3164\u2800\uffa0", "Please enter a name."),
    "too long": ("x" * 65, "too long: use at most 64 characters"),
    "far too long": ("ß" * 5_000, "too long: use at most 64 characters"),
    "NUL": ("su\0san", "cannot be displayed"),
    "line break": ("susan\r\nBcc: eve@example.com", "cannot be displayed"),
    "escape": ("\x1b[31msusan", "cannot be displayed"),
    "C1 control": ("su\x85san", "cannot be displayed"),
    "line separator": ("su\u2028san", "cannot be displayed"),
    "delete": ("susan\x7f", "cannot be displayed"),
    "private use": ("\ue000", "cannot be displayed"),
}


@pytest.mark.parametrize(("name", "sentence"), BAD_NAMES.values(), ids=BAD_NAMES)
def test_a_bad_name_is_refused_with_a_sentence_at_the_field(
    app: Flask, client: Any, outbox: Callable[[], list[Email]], name: str, sentence: str
) -> None:
    answer = fill(client, name=name)
    assert answer.status_code == 200
    assert sentence in answer.text
    assert answer.text.count("invalid-feedback") == 1
    assert names(app) == []
    assert outbox() == []
    assert session_of(client) == {"name": None, "known": None}


def test_a_form_without_the_field_is_an_empty_name(client: Any) -> None:
    assert "Please enter a name." in fill(client).text


@pytest.mark.parametrize("tampered", ["", "stale", "IjEyMyI.aaaa.bbbb"])
def test_a_post_without_a_good_token_writes_nothing(app: Flask, client: Any, tampered: str) -> None:
    client.get("/")
    answer = client.post("/", data={"name": "susan"} | ({"csrf_token": tampered} if tampered else {}))
    assert answer.status_code == 400
    assert "Try again" in answer.text
    assert names(app) == []


def test_of_two_visitors_with_one_new_name_at_one_moment_one_is_new(
    make_app: Callable[..., Flask], database_url: str, outbox_of: Callable[[Flask], int]
) -> None:
    app = make_app(database_url=database_url)
    visitors = [app.test_client() for _ in range(2)]
    tokens = [token(visitor) for visitor in visitors]
    both_have_looked = threading.Barrier(2, timeout=10)
    statuses: list[int] = []

    def wait_for_the_other(*_: object) -> None:
        both_have_looked.wait()

    def post(visitor: Any, csrf_token: str) -> None:
        statuses.append(visitor.post("/", data={"name": "susan", "csrf_token": csrf_token}).status_code)

    event.listen(User, "before_insert", wait_for_the_other)
    try:
        threads = [threading.Thread(target=post, args=pair) for pair in zip(visitors, tokens, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        event.remove(User, "before_insert", wait_for_the_other)
    assert statuses == [302, 302]
    assert sorted(session_of(visitor)["known"] for visitor in visitors) == [False, True]
    assert names(app) == ["susan"]
    assert outbox_of(app) == 1


@pytest.fixture
def outbox_of() -> Callable[[Flask], int]:
    def count(app: Flask) -> int:
        with app.app_context():
            return int(db.session.execute(sa.text("SELECT count(*) FROM mail_email")).scalar_one())

    return count


def test_a_name_and_its_mail_are_written_together_or_not_at_all(
    app: Flask, client: Any, outbox: Callable[[], list[Email]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no mail today")

    monkeypatch.setattr("flasky.main.names.enqueue", fail)
    assert fill(client, name="susan").status_code == 500
    assert names(app) == []
    assert outbox() == []
    assert session_of(client) == {"name": None, "known": None}


def test_redis_is_asked_and_the_mail_is_rendered_before_sqlite_is_locked(
    make_app: Callable[..., Flask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, asked = tmp_path / "site.sqlite3", []

    def ask(*_: object) -> bool:
        with closing(sqlite3.connect(database, timeout=0)) as other:
            other.execute("BEGIN IMMEDIATE")
        asked.append(1)
        return True

    monkeypatch.setattr("flasky.main.names.may", ask)
    app = make_app(database_url=f"sqlite:///{database}")
    assert fill(app.test_client(), name="susan").status_code == 302
    assert (names(app), asked) == (["susan"], [1])


def test_past_the_limit_for_admin_mail_names_are_remembered_and_one_line_says_so(
    make_app: Callable[..., Flask], outbox_of: Callable[[Flask], int], caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(flasky_admin_mail_limit="2 per hour")
    client = app.test_client()
    with caplog.at_level(logging.WARNING, "flasky"):
        for name in ("one", "two", "three"):
            assert fill(client, name=name).status_code == 302
    assert names(app) == ["one", "two", "three"]
    assert outbox_of(app) == 2
    assert [record.message for record in caplog.records if "FLASKY_ADMIN_MAIL_LIMIT" in record.message] == [
        "a new name without an email: more than FLASKY_ADMIN_MAIL_LIMIT (2 per hour) new names"
    ]


def test_known_names_do_not_use_up_the_limit_for_admin_mail(
    make_app: Callable[..., Flask], outbox_of: Callable[[Flask], int]
) -> None:
    app = make_app(flasky_admin_mail_limit="2 per hour")
    client = app.test_client()
    for name in ("one", "one", "one", "two"):
        fill(client, name=name)
    assert outbox_of(app) == 2


def test_posting_too_often_is_answered_with_429_and_reading_is_not(make_app: Callable[..., Flask]) -> None:
    app = make_app(flasky_form_limit="2 per minute")
    client = app.test_client()
    assert [fill(client, name=name).status_code for name in ("one", "two", "three")] == [302, 302, 429]
    assert names(app) == ["one", "two"]
    assert client.get("/").status_code == 200
    elsewhere = {"REMOTE_ADDR": "192.0.2.7"}
    data = {"csrf_token": token(client), "name": "three"}
    assert client.post("/", data=data, environ_overrides=elsewhere).status_code == 302


@pytest.mark.parametrize("trouble", ["stop", "freeze"])
def test_a_redis_that_is_away_does_not_stop_the_form(
    make_app: Callable[..., Flask], own_redis: RedisServer, outbox_of: Callable[[Flask], int], trouble: str
) -> None:
    app = make_app(redis_url=own_redis.url, flasky_mail_dispatch="rq")
    client = app.test_client()
    fill(client, name="before")
    getattr(own_redis, trouble)()
    for name in ("one", "two"):
        csrf_token = token(client)
        start = time.monotonic()
        assert client.post("/", data={"name": name, "csrf_token": csrf_token}).status_code == 302
        assert time.monotonic() - start < 1
    assert names(app) == ["before", "one", "two"]
    assert outbox_of(app) == 3


def test_the_limit_holds_while_redis_is_away_and_counts_there_again_afterwards(
    make_app: Callable[..., Flask], own_redis: RedisServer
) -> None:
    app = make_app(redis_url=own_redis.url, flasky_form_limit="2 per minute", flasky_admin="")
    client = app.test_client()
    own_redis.stop()
    assert [fill(client, name=name).status_code for name in ("one", "two", "three")] == [302, 302, 429]
    own_redis.start()

    def counts_in_redis() -> bool:
        fill(client, name="four")
        return any(b"flasky" in key for key in own_redis.client.scan_iter())

    wait_until(counts_in_redis, what="counting in Redis")
