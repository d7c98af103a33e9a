"""What a visitor of an app with Flask-Security does, and the mail that comes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from flask_security import hash_password
from flask_security.recoverable import generate_reset_link
from sqlalchemy.orm import joinedload

from flask_outbox import Email
from tests.outbox.integrations.conftest import User, db

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from flask.testing import FlaskClient

WHO, PASSWORD = "susan@b.example", "correct horse"
TOTP = {"totp_secrets": {"1": "TjQ9Qa31VOrfEzuPy4VHQWPCTmRzCnFzMKLxXYiZu9B"}, "totp_issuer": "tests"}
US = TOTP | {"unified_signin": True, "us_enabled_methods": ["email", "password"]}
TWO = TOTP | {"two_factor": True, "two_factor_enabled_methods": ["email"], "two_factor_rescue_mail": "help@b.example"}


def add_user(app: Flask, **fields: Any) -> None:
    with app.app_context():
        password = fields.pop("password", None) or hash_password(PASSWORD)
        app.extensions["security"].datastore.create_user(email=WHO, password=password, confirmed_at=None, **fields)
        db.session.commit()


def set_up_codes(app: Flask) -> None:
    add_user(app)
    with app.app_context():
        user = db.session.scalar(sa.select(User))
        secret = app.extensions["security"].totp_factory.generate_totp_secret()
        app.extensions["security"].datastore.tf_set(user, "email", totp_secret=secret)
        app.extensions["security"].datastore.us_set(user, "email", totp_secret=secret)
        db.session.commit()


def mails(app: Flask) -> list[Email]:
    with app.app_context():
        return list(db.session.scalars(sa.select(Email).options(joinedload(Email.content)).order_by(Email.id)))


def sign_in(client: FlaskClient) -> Any:
    return client.post("/login", data={"email": WHO, "password": PASSWORD})


def register(client: FlaskClient, **more: str) -> Any:
    form = {"email": WHO, "password": PASSWORD, "password_confirm": PASSWORD}
    return client.post("/register", data=form | more)


def register_again(client: FlaskClient) -> None:
    add_user(client.application)
    register(client)


def for_the_known(path: str, **form: str) -> Callable[[FlaskClient], Any]:
    def act(client: FlaskClient) -> Any:
        add_user(client.application, username="susan")
        return client.post(path, data=form)

    return act


def signed_in(path: str, **form: str) -> Callable[[FlaskClient], Any]:
    def act(client: FlaskClient) -> Any:
        add_user(client.application, username="susan")
        sign_in(client)
        return client.post(path, data=form)

    return act


def reset(client: FlaskClient) -> Any:
    add_user(client.application)
    with client.application.test_request_context():
        _, token = generate_reset_link(db.session.scalar(sa.select(User)))
    return client.post(f"/reset/{token}", data={"password": "another one", "password_confirm": "another one"})


def us_code(client: FlaskClient) -> Any:
    set_up_codes(client.application)
    return client.post("/us-signin/send-code", data={"identity": WHO, "chosen_method": "email"})


def two_factor_code(client: FlaskClient) -> Any:
    set_up_codes(client.application)
    return sign_in(client)


def two_factor_rescue(client: FlaskClient) -> Any:
    two_factor_code(client)
    return client.post("/tf-rescue", data={"help_setup": "help"})
