"""Who gets mail from a staging site."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flask_outbox import MailSettings, Message, enqueue
from flask_outbox.errors import Held
from flask_outbox.factories import make_server
from flask_outbox.smtp.envelope import Envelope
from flask_outbox.smtp.staging import Staging
from flask_outbox.store.operations import actions
from flasky.extensions import db
from flasky.mail import mail

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from flask_outbox.testing import SmtpServer


def message(recipient: str) -> Message:
    return Message("hi", [recipient], "text", sender="a@example.com")


@pytest.mark.parametrize(
    ("entry", "recipient", "allowed"),
    [
        ("team@example.com", "team@example.com", True),
        ("team@example.com", "Team@Example.com", True),
        ("example.com", "anyone@example.com", True),
        ("@example.com", "anyone@example.com", True),
        ("example.com", "anyone@sub.example.com", False),
        ("example.com", "anyone@notexample.com", False),
        ("team@example.com", "other@example.com", False),
        ("team@example.com", "team@example.com.evil.example", False),
    ],
)
def test_the_list_names_addresses_and_domains(entry: str, recipient: str, allowed: bool) -> None:
    assert (Staging((entry,)).route(Envelope("a@example.com", recipient, b"")) is not None) == allowed


def test_without_a_list_everybody_gets_mail() -> None:
    email = Envelope("a@example.com", "anyone@example.com", b"x")
    assert Staging().route(email) is email


def test_mail_to_others_is_held_and_sent_once_it_is_allowed(make_app: Callable[..., Flask], smtp: SmtpServer) -> None:
    with make_app(mail_allow_to=("example.com",)).app_context():
        held, sent = (enqueue(message(to))[0] for to in ("customer@elsewhere.example", "team@example.com"))
        db.session.expire_all()
        assert (held.status, sent.status) == ("held", "sent")
        assert [one.recipient for one in smtp.accepted] == ["team@example.com"]
        number = held.id
    app = make_app()
    with app.app_context():
        actions.retry(db.engine, number)
        app.extensions["mail"].deliver()
    assert [one.recipient for one in smtp.accepted] == ["team@example.com", "customer@elsewhere.example"]


def test_mail_to_others_is_redirected_with_its_recipient_in_a_header(make_app: Callable[..., Flask], smtp: SmtpServer) -> None:
    with make_app(mail_allow_to=("example.com",), mail_redirect_to="team@example.com").app_context():
        enqueue(message("customer@elsewhere.example"))
        mail.send(message("other@elsewhere.example"))
    assert [(one.recipient, one.message["X-Original-To"]) for one in smtp.accepted] == [
        ("team@example.com", "customer@elsewhere.example"),
        ("team@example.com", "other@elsewhere.example"),
    ]


def test_mail_send_obeys_the_list_too(make_app: Callable[..., Flask], smtp: SmtpServer) -> None:
    with make_app(mail_allow_to=("example.com",)).app_context(), pytest.raises(Held, match="MAIL_ALLOW_TO"):
        mail.send(message("customer@elsewhere.example"))
    assert not smtp.accepted


def test_a_redirect_address_with_a_name_is_used_without_it() -> None:
    settings = MailSettings.from_config({"MAIL_REDIRECT_TO": "Team <team@example.com>"})
    routed = make_server(settings).staging.route(Envelope("a@example.com", "b@example.org", b"text"))
    assert routed is not None
    assert routed.recipient == "team@example.com"
