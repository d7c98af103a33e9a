"""Flask-Security's mail in the outbox: what is secret, when it expires, and what is in it."""

from __future__ import annotations

import logging
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from flask_security import send_mail
from jinja2 import DictLoader

from flask_outbox import ConfigurationError, Email, Priority
from tests.outbox.integrations.accounts import (
    PASSWORD,
    TWO,
    US,
    WHO,
    add_user,
    for_the_known,
    mails,
    register,
    register_again,
    reset,
    signed_in,
    two_factor_code,
    two_factor_rescue,
    us_code,
)
from tests.outbox.integrations.conftest import db

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

pytestmark = [
    # Flask-Security's own forms are made in a way that WTForms is about to drop.
    pytest.mark.filterwarnings("ignore:Passing SelectField choices as tuples:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The passwordless feature was deprecated:DeprecationWarning"),
]

DAY = timedelta(days=1)
NEW_PASSWORD = {"password": PASSWORD, "new_password": "another one", "new_password_confirm": "another one"}
CASES = {
    "welcome, with a link": ({"registerable": True, "confirmable": True}, register, True, 2 * DAY),
    "welcome, without": ({"registerable": True}, register, False, None),
    "confirm within": ({"registerable": True, "confirmable": True, "confirm_email_within": DAY / 24}, register, True, DAY / 24),
    "registered before, without a link": ({"registerable": True, "return_generic_responses": True}, register_again, False, None),
    "registered before, to reset": (
        {"registerable": True, "return_generic_responses": True, "recoverable": True},
        register_again,
        True,
        DAY,
    ),
    "registered before, to reset or confirm": (
        {"registerable": True, "return_generic_responses": True, "recoverable": True, "confirmable": True},
        register_again,
        True,
        2 * DAY,
    ),
    "confirm": ({"confirmable": True}, for_the_known("/confirm", email=WHO), True, 2 * DAY),
    "reset": ({"recoverable": True}, for_the_known("/reset", email=WHO), True, DAY),
    "passwordless": ({"passwordless": True, "login_within": DAY / 2}, for_the_known("/login", email=WHO), True, DAY / 2),
    "unified sign-in": (US, us_code, True, timedelta(seconds=120)),
    "two factors": (TWO, two_factor_code, True, timedelta(seconds=300)),
    "two factors, rescue": (TWO, two_factor_rescue, False, None),
    "change email": ({"change_email": True}, signed_in("/change-email", email="new@b.example"), True, DAY / 12),
    "user name recovery": (
        {"username_enable": True, "username_recovery": True},
        for_the_known("/recover-username", email=WHO),
        True,
        None,
    ),
    "password changed": ({"changeable": True}, signed_in("/change", **NEW_PASSWORD), False, None),
    "password was reset": ({"recoverable": True}, reset, False, None),
    "user name changed": (
        {"username_enable": True, "change_username": True},
        signed_in("/change-username", username="zoe99"),
        False,
        None,
    ),
}


@pytest.mark.parametrize(("settings", "act", "secret", "lifetime"), CASES.values(), ids=CASES)
def test_each_mail_is_urgent_and_secret_and_expires_with_its_token(
    make_secure: Callable[..., Flask], settings: dict[str, Any], act: Any, secret: bool, lifetime: timedelta | None
) -> None:
    app = make_secure(**settings)
    act(app.test_client())
    email = mails(app)[-1]
    assert (email.priority, email.content.secret) == (Priority.URGENT, secret)
    if lifetime is None:
        assert email.expires_at is None
    else:
        assert timedelta() <= datetime.now(UTC) + lifetime - email.expires_at < timedelta(seconds=10)


def test_a_duration_is_read_as_flask_security_reads_it(make_secure: Callable[..., Flask]) -> None:
    with pytest.warns(DeprecationWarning, match="RESET_PASSWORD_WITHIN"):
        app = make_secure(recoverable=True, reset_password_within="3 hours")
    for_the_known("/reset", email=WHO)(app.test_client())
    (email,) = mails(app)
    assert timedelta() <= datetime.now(UTC) + DAY / 8 - email.expires_at < timedelta(seconds=10)


def test_any_other_template_is_secret(make_secure: Callable[..., Flask]) -> None:
    app = make_secure(email_html=False)
    app.jinja_loader = DictLoader({"plain.txt": "Hello", "invitation.txt": "{{ reset_token }}"})
    with app.test_request_context():
        send_mail("Hi", WHO, "plain")
        send_mail("Hi", WHO, "invitation", reset_token="x")
    plain, invitation = mails(app)
    assert (plain.content.secret, plain.expires_at) == (True, None)
    assert invitation.content.secret
    assert invitation.expires_at is not None


# What is in it


class Late:
    """A string that is translated when it is asked for."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        ("c@d.example", "c@d.example"),
        (("Zoë", "c@d.example"), "=?utf-8?b?Wm/Dqw==?= <c@d.example>"),
        ((Late("Site"), "c@d.example"), "Site <c@d.example>"),
        (Late("c@d.example"), "c@d.example"),
        (None, "a@b.example"),
    ],
    ids=str,
)
def test_subject_and_sender_may_be_translated_late(make_secure: Callable[..., Flask], sender: Any, expected: str) -> None:
    app = make_secure(recoverable=True, email_sender=sender, email_subject_password_reset=Late("Neues Passwort"))
    for_the_known("/reset", email=WHO)(app.test_client())
    with app.app_context():
        (email,) = db.session.scalars(sa.select(Email))
        assert email.subject == "Neues Passwort"
        assert f"From: {expected}\r\n" in email.content.source.decode()


def test_the_default_sender_of_flask_security_may_stay(make_secure: Callable[..., Flask]) -> None:
    app = make_secure({"MAIL_DEFAULT_SENDER": "x@y.example"}, recoverable=True, email_sender="no-reply@localhost")
    for_the_known("/reset", email=WHO)(app.test_client())
    with app.app_context():
        assert db.session.scalar(sa.select(Email)).content.sender == "no-reply@localhost"


@pytest.mark.parametrize(("plaintext", "html"), [(True, True), (True, False), (False, True)])
def test_one_half_may_be_switched_off(make_secure: Callable[..., Flask], plaintext: bool, html: bool) -> None:
    app = make_secure(recoverable=True, email_plaintext=plaintext, email_html=html)
    for_the_known("/reset", email=WHO)(app.test_client())
    with app.app_context():
        source = db.session.scalar(sa.select(Email)).content.source.decode()
    assert (("text/plain" in source), ("text/html" in source)) == (plaintext, html)


@pytest.mark.parametrize("base", ["https://site.example", "https://site.example/"])
@pytest.mark.parametrize("host", ["evil.example", "EVIL.example:81", "xn--80ak6aa92e.example"])
def test_the_links_begin_with_the_base_url_whatever_host_a_request_claims(
    make_secure: Callable[..., Flask], host: str, base: str
) -> None:
    app = make_secure({"MAIL_BASE_URL": base}, recoverable=True)
    add_user(app)
    app.test_client().post("/reset", data={"email": WHO}, headers={"Host": host})
    with app.app_context():
        message = db.session.scalar(sa.select(Email)).content.source.decode().replace("=\r\n", "")
    assert message.count("https://site.example/reset/") == 2
    assert host.lower().partition(":")[0] not in message


def test_the_ampersand_of_a_magic_link_survives_in_both_halves(make_secure: Callable[..., Flask]) -> None:
    app = make_secure({"MAIL_BASE_URL": "https://site.example"}, **US)
    us_code(app.test_client())
    with app.app_context():
        message = db.session.scalar(sa.select(Email)).content.source.decode().replace("=\r\n", "")
    assert message.count("https://site.example/us-verify-link?") == 2
    assert "http://localhost" not in message


# What goes wrong


@pytest.mark.parametrize("address", ["a@[127.0.0.1]", '"a b"@c.example'])
def test_an_address_that_gets_no_mail_is_refused_in_the_form(make_secure: Callable[..., Flask], address: str) -> None:
    loose = {"check_deliverability": False, "allow_domain_literal": True, "allow_quoted_local": True}
    app = make_secure(registerable=True, confirmable=True, email_validator_args=loose)
    answer = register(app.test_client(), email=address)
    assert (answer.status_code, mails(app)) == (200, [])
    assert "Invalid email address" in answer.text


def test_a_mail_that_cannot_be_written_tells_no_visitor_that_there_is_an_account(
    make_secure: Callable[..., Flask], caplog: pytest.LogCaptureFixture
) -> None:
    app = make_secure(recoverable=True, email_subject_password_reset="one\ntwo")
    with caplog.at_level(logging.ERROR):
        assert for_the_known("/reset", email=WHO)(app.test_client()).status_code == 200
    assert "reset_instructions was not sent" in caplog.text
    assert mails(app) == []


def test_a_code_that_cannot_be_sent_is_told_in_the_form(make_secure: Callable[..., Flask]) -> None:
    app = make_secure(**US, us_email_subject="one\ntwo")
    answer = us_code(app.test_client())
    assert (answer.status_code, mails(app)) == (200, [])
    assert "Failed to send code" in answer.text


def test_a_sender_that_is_no_address_stops_the_start(make_secure: Callable[..., Flask]) -> None:
    with pytest.raises(ConfigurationError, match="SECURITY_EMAIL_SENDER 'nobody' is not an email address"):
        make_secure(email_sender="nobody")


def test_the_library_does_not_load_flask_security() -> None:
    script = "import sys, flask_outbox, flask_outbox.integrations; print('flask_security' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout == "False\n"
