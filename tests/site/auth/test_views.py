"""Signing in and out: one answer for all that is wrong, a new session, and only ways within this site."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
import werkzeug.security
from sqlalchemy import event

from flasky.auth import accounts
from flasky.auth.devices import COOKIE, device_of
from flasky.extensions import db
from flasky.models import User
from tests.site.visiting import EMAIL, PASSWORD, add_account, fill, signed_in, token

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

SIGN_IN = "/auth/sign-in"
WRONG = "Wrong email address or password."


def try_password(client: Any, email: str = EMAIL, password: str = PASSWORD, path: str = SIGN_IN) -> Any:
    return fill(client, path, email=email, password=password)


@pytest.mark.parametrize("email", [EMAIL, " Susan@Example.COM ", "SUSAN@example.com"])
def test_the_right_password_signs_in(app: Flask, client: Any, email: str) -> None:
    add_account(app)
    answer = try_password(client, email)
    assert (answer.status_code, answer.location) == (302, "/")
    assert "Sign out" in client.get("/").text


@pytest.mark.parametrize(
    ("email", "password"),
    [
        (EMAIL, "wrong password"),
        (EMAIL, PASSWORD.upper()),
        (EMAIL, PASSWORD + " "),
        ("nobody@example.com", PASSWORD),
        ("no address", PASSWORD),
        ("nameless@example.com", "None"),
        ("' OR 1=1 --@example.com", PASSWORD),
        ("susan\0@example.com", PASSWORD),
    ],
)
def test_whatever_is_wrong_the_answer_is_the_same(app: Flask, client: Any, email: str, password: str) -> None:
    add_account(app)
    with app.app_context():
        db.session.add(User(email="nameless@example.com"))
        db.session.commit()
    answer = try_password(client, email, password)
    assert answer.status_code == 200
    assert WRONG in answer.text
    assert password not in answer.text
    with client.session_transaction() as session:
        assert "_user_id" not in session


def test_the_pages_for_an_unknown_address_and_a_wrong_password_differ_in_nothing_else(app: Flask) -> None:
    add_account(app)
    pages = []
    for email in (EMAIL, "nobody@example.com"):
        answer = try_password(app.test_client(), email, "wrong password")
        pages.append((answer.status, re.sub(r'(name="csrf_token"[^>]*value=")[^"]+', r"\1", answer.text.replace(email, "EMAIL"))))
    assert WRONG in pages[0][1]
    assert pages[0] == pages[1]


@pytest.mark.parametrize("email", [EMAIL, "nobody@example.com", "no address", "nameless@example.com"])
def test_every_try_costs_one_hash(context: Flask, monkeypatch: pytest.MonkeyPatch, email: str) -> None:
    add_account(context)
    db.session.add(User(email="nameless@example.com"))
    db.session.commit()
    accounts._nobodys_hash()
    hashed: list[str] = []
    hash_internal = werkzeug.security._hash_internal

    def count(method: str, *rest: Any) -> Any:
        hashed.append(method)
        return hash_internal(method, *rest)

    monkeypatch.setattr(werkzeug.security, "_hash_internal", count)
    assert accounts.authenticate(email, "wrong password") is None
    assert hashed == ["scrypt:32768:8:1"]


@pytest.mark.parametrize("field", ["email", "password"])
def test_an_empty_or_endless_field_is_refused_at_the_field(app: Flask, client: Any, field: str) -> None:
    add_account(app)
    for value in ("", "x" * 2000):
        answer = fill(client, SIGN_IN, **{"email": EMAIL, "password": PASSWORD} | {field: value})
        assert answer.status_code == 200
        assert answer.text.count("invalid-feedback") == 1


def test_signing_in_begins_a_new_session(app: Flask, client: Any) -> None:
    add_account(app)
    fill(client, name="susan")
    with client.session_transaction() as session:
        session["planted"] = True
        old_token = session["csrf_token"]
    try_password(client)
    with client.session_transaction() as session:
        assert not {"planted", "name", "known"} & set(session)
        assert session.get("csrf_token") != old_token


def test_an_old_form_is_no_good_after_signing_in(app: Flask, client: Any) -> None:
    add_account(app)
    old = token(client)
    try_password(client)
    assert client.post("/", data={"name": "susan", "csrf_token": old}).status_code == 400


@pytest.mark.parametrize(("target", "page"), [("/?a=b&c=d", "/?a=b&c=d"), ("//evil.example", "/"), ("http://[", "/")])
def test_signing_in_leads_to_the_next_page(app: Flask, client: Any, target: str, page: str) -> None:
    add_account(app)
    data = {"email": EMAIL, "password": PASSWORD, "csrf_token": token(client, SIGN_IN)}
    answer = client.post(SIGN_IN, query_string={"next": target}, data=data)
    assert (answer.status_code, answer.location) == (302, page)


def test_next_is_kept_from_the_guard_over_a_mistake_to_the_page(make_app: Callable[..., Flask], redis_url: str) -> None:
    app = make_app(redis_url=redis_url)
    add_account(app, admin=True)
    client = app.test_client()
    form = client.get("/admin/rq/").location
    assert WRONG in try_password(client, password="wrong password", path=form).text
    assert try_password(client, path=form).location == "/admin/rq/"
    assert client.get("/admin/rq/").status_code == 200


OURS = ["/", "/admin/rq/", "/?a=b&c=d", "/mailbox/1/html", "/%E6%99%BA", "/?next=https://evil.example"]
FOREIGN = [
    "https://evil.example/",
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "\t//evil.example",
    " //evil.example",
    "/\r\nSet-Cookie: a=b",
    "javascript:alert(1)",
    "evil.example",
    "@evil.example",
    "//[",
    "http://[",
    "",
]


def test_next_leads_to_pages_of_this_site_alone(app: Flask) -> None:
    client = signed_in(app)
    answers = {target: client.get(SIGN_IN, query_string={"next": target}) for target in OURS + FOREIGN}
    assert {answer.status_code for answer in answers.values()} == {302}
    wrong = {
        target: answer.location for target, answer in answers.items() if answer.location != (target if target in OURS else "/")
    }
    assert not wrong


def test_an_address_gets_twenty_tries(app: Flask) -> None:
    statuses = [try_password(app.test_client(), f"nobody-{number}@", "").status_code for number in range(21)]
    assert statuses == [200] * 20 + [429]


@pytest.mark.parametrize("spelling", ["SUSAN@example.com", " susan@example.com", "susan@\uff45xample.com"])
def test_an_account_gets_ten_tries_from_wherever_and_however_it_is_spelt(app: Flask, spelling: str) -> None:
    statuses = []
    for number in range(11):
        client = app.test_client()
        data = {"csrf_token": token(client, SIGN_IN), "email": spelling if number % 2 else EMAIL, "password": ""}
        answer = client.post(SIGN_IN, data=data, environ_overrides={"REMOTE_ADDR": f"192.0.2.{number}"})
        statuses.append(answer.status_code)
    assert statuses == [200] * 10 + [429]


def test_reading_the_form_is_not_limited(client: Any) -> None:
    assert {client.get(SIGN_IN).status_code for _ in range(25)} == {200}


def test_signing_out_forgets_everything(app: Flask) -> None:
    client = signed_in(app)
    fill(client, name="susan")
    answer = client.post("/auth/sign-out", data={"csrf_token": token(client)})
    assert (answer.status_code, answer.location) == (302, "/")
    page = client.get("/").text
    assert "You have signed out." in page
    assert "Hello, Stranger!" in page
    assert "Sign in" in page


def test_signing_out_ends_a_copied_session_too(app: Flask) -> None:
    client, thief = signed_in(app), app.test_client()
    client.get("/")
    with client.session_transaction() as session:
        stolen = dict(session)
    with thief.session_transaction() as session:
        session.update(stolen)
    assert "Sign out" in thief.get("/").text
    client.post("/auth/sign-out", data={"csrf_token": token(client)})
    assert "Sign out" not in thief.get("/").text


def test_a_new_password_ends_the_sessions_of_the_old_one(app: Flask) -> None:
    client = signed_in(app)
    with app.app_context():
        db.session.scalars(sa.select(User)).one().set_password("another horse battery")
        db.session.commit()
    assert "Sign out" not in client.get("/").text


def test_wrong_passwords_of_strangers_do_not_lock_a_known_browser_out(app: Flask) -> None:
    add_account(app)
    owner = app.test_client()
    assert try_password(owner, EMAIL, PASSWORD).status_code == 302
    owner.post("/auth/sign-out", data={"csrf_token": token(owner)})
    for number in range(11):
        stranger = app.test_client()
        data = {"csrf_token": token(stranger, SIGN_IN), "email": EMAIL, "password": "wrong"}
        answer = stranger.post(SIGN_IN, data=data, environ_overrides={"REMOTE_ADDR": f"192.0.2.{number}"})
    assert answer.status_code == 429
    assert try_password(owner, EMAIL, PASSWORD).status_code == 302


def test_a_known_browser_has_ten_tries_too_and_only_for_its_account(app: Flask) -> None:
    add_account(app)
    add_account(app, "other@example.com")
    owner = app.test_client()
    try_password(owner, EMAIL, PASSWORD)
    owner.post("/auth/sign-out", data={"csrf_token": token(owner)})
    with app.test_request_context(headers={"Cookie": f"{COOKIE}={owner.get_cookie(COOKIE, path='/auth').value}"}):
        assert device_of(EMAIL)
        assert not device_of("other@example.com")
    assert [try_password(owner, EMAIL, "wrong").status_code for _ in range(11)] == [200] * 10 + [429]


@pytest.mark.parametrize("value", ["", "x", "WyJzdXNhbkBleGFtcGxlLmNvbSIsIngiXQ.aaaa.bbbb"])
def test_a_forged_device_is_not_known(app: Flask, value: str) -> None:
    with app.test_request_context(headers={"Cookie": f"{COOKIE}={value}"}):
        assert device_of(EMAIL) == ""


def test_signing_out_takes_a_post(app: Flask) -> None:
    client = signed_in(app)
    assert client.get("/auth/sign-out").status_code == 405
    assert "Sign out" in client.get("/").text


@pytest.mark.parametrize("path", [SIGN_IN, "/auth/sign-out"])
def test_a_forged_post_is_refused(app: Flask, path: str) -> None:
    client = signed_in(app)
    answer = client.post(path, data={"email": EMAIL, "password": PASSWORD})
    assert answer.status_code == 400
    assert "Sign out" in client.get("/").text


@pytest.mark.parametrize("user_id", ["999", "", "x", "-1", "1.5", "\uff19"])
def test_a_session_of_nobody_is_a_strangers(app: Flask, client: Any, user_id: str) -> None:
    with client.session_transaction() as session:
        session["_user_id"] = user_id
        session["_fresh"] = True
    page = client.get("/")
    assert page.status_code == 200
    assert "Sign in" in page.text


def test_who_is_signed_in_is_asked_of_the_database_once_a_page(app: Flask) -> None:
    client = signed_in(app)
    statements: list[str] = []
    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    client.get("/")
    assert len([one for one in statements if "users" in one]) == 1


def test_the_cookie_is_for_this_site_and_http_alone(make_app: Callable[..., Flask]) -> None:
    app = make_app(flasky_base_url="https://flasky.example")
    cookie = app.test_client().get("/auth/sign-in", base_url="https://flasky.example").headers["Set-Cookie"]
    assert {"Secure", "HttpOnly", "SameSite=Lax"} <= set(cookie.split("; "))
