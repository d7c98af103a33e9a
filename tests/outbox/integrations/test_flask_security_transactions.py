"""Flask-Security's mail in the outbox: which transaction it belongs to, and who commits that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from flask_security import hash_password, send_mail, user_registered

from tests.outbox.integrations.accounts import (
    PASSWORD,
    TWO,
    WHO,
    add_user,
    mails,
    register,
    set_up_codes,
    sign_in,
)
from tests.outbox.integrations.conftest import User, db

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

pytestmark = [
    # Flask-Security's own forms are made in a way that WTForms is about to drop.
    pytest.mark.filterwarnings("ignore:Passing SelectField choices as tuples:DeprecationWarning"),
]


def test_the_mail_is_part_of_the_transaction_that_makes_the_user(make_secure: Callable[..., Flask]) -> None:
    app = make_secure(registerable=True, confirmable=True)
    seen: list[int] = []

    def look(_: Flask, **__: Any) -> None:
        with db.engine.connect() as connection:
            seen.append(connection.scalar(sa.text("SELECT count(*) FROM mail_email")))

    with user_registered.connected_to(look, app):
        assert register(app.test_client()).status_code == 302
    (email,) = mails(app)
    assert (seen, email.recipient) == ([0], WHO)


@pytest.mark.parametrize("end", ["rollback", "commit"])
def test_a_rollback_takes_the_mail_with_it_and_a_commit_keeps_one(make_secure: Callable[..., Flask], end: str) -> None:
    app = make_secure(confirmable=True)

    @app.post("/invite")
    def invite() -> str:
        user = app.extensions["security"].datastore.create_user(email=WHO, password=hash_password(PASSWORD))
        send_mail("Welcome", WHO, app.config["SECURITY_REGISTER_EMAIL_TEMPLATE"], user=user, confirmation_link="x")
        getattr(db.session, end)()
        return "done"

    assert app.test_client().post("/invite").text == "done"
    with app.app_context():
        users = db.session.scalars(sa.select(User)).all()
    assert len(mails(app)) == len(users) == (end == "commit")


def test_a_commit_that_fails_leaves_neither_the_user_nor_the_mail(make_secure: Callable[..., Flask]) -> None:
    app = make_secure(registerable=True, confirmable=True)

    def fail() -> None:
        raise sa.exc.OperationalError("COMMIT", {}, Exception("the database is away"))

    app.extensions["security"].datastore.commit = fail
    assert register(app.test_client()).status_code == 500
    assert mails(app) == []
    with app.app_context():
        assert db.session.scalars(sa.select(User)).all() == []


def test_a_reset_changes_nothing_and_its_mail_is_committed_at_once(make_secure: Callable[..., Flask]) -> None:
    app = make_secure(recoverable=True)
    add_user(app)
    with app.test_request_context("/reset", method="POST", data={"email": WHO}):
        # Nothing behind the view is run, so nobody else commits.
        app.view_functions["security.forgot_password"]()
        db.session.rollback()
    assert len(mails(app)) == 1


def test_a_code_goes_out_although_the_view_leaves_its_transaction_open(make_secure: Callable[..., Flask]) -> None:
    app = make_secure(**TWO, password_hash="pbkdf2_sha512", password_schemes=["pbkdf2_sha512", "plaintext"])
    set_up_codes(app)
    with app.app_context():
        user = db.session.scalar(sa.select(User))
        user.password = PASSWORD
        app.config["SECURITY_PASSWORD_SINGLE_HASH"] = {"plaintext"}
        db.session.commit()
    sign_in(app.test_client())
    (email,) = mails(app)
    assert email.content.secret
    with app.app_context():
        assert db.session.scalar(sa.select(User)).password.startswith("$pbkdf2"), "no hash was renewed, so nothing was open"


def test_a_view_of_ones_own_commits_for_itself(make_secure: Callable[..., Flask], caplog: pytest.LogCaptureFixture) -> None:
    app = make_secure()

    @app.post("/forgetful")
    def forgetful() -> str:
        user = app.extensions["security"].datastore.create_user(email=WHO)
        send_mail("Hi", WHO, app.config["SECURITY_REGISTER_EMAIL_TEMPLATE"], user=user)
        return "done"

    app.test_client().post("/forgetful")
    assert mails(app) == []
    assert "never committed" in caplog.text
