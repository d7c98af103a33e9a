"""Every door that Flask-Mail has leads to the one transport: verified, with a timeout, and obeying the staging rules."""

from __future__ import annotations

import ssl
import time
from typing import TYPE_CHECKING, Any

import flask_mail
import pytest
import sqlalchemy as sa
from flask import Flask, current_app

import flask_outbox
from flask_outbox import Unavailable
from flask_outbox.testing import stall

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_outbox.testing import SmtpServer

DOORS: dict[str, Callable[[Any, flask_mail.Message], None]] = {
    "mail.send": lambda mail, message: mail.send(message),
    "mail.send_message": lambda mail, message: mail.send_message(message.subject, message.recipients, message.body),
    "mail.connect": lambda mail, message: by_connection(mail.connect(), message),
    "Message.send": lambda mail, message: message_send(mail.connect(), message),
    "extensions": lambda mail, message: current_app.extensions["mail"].send(message),
    "extensions, connect": lambda mail, message: by_connection(current_app.extensions["mail"].connect(), message),
    "extensions, send_message": lambda mail, message: current_app.extensions["mail"].send_message(
        message.subject, message.recipients, message.body
    ),
}


def by_connection(connection: Any, message: flask_mail.Message) -> None:
    with connection:
        connection.send(message)


def message_send(connection: Any, message: flask_mail.Message) -> None:
    with connection:
        message.send(connection)


@pytest.fixture(params=DOORS.values(), ids=DOORS)
def door(request: pytest.FixtureRequest) -> Callable[[Any, flask_mail.Message], None]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def make_mail(make_flask: Callable[..., Flask], make_engine: Any) -> Callable[..., tuple[Flask, flask_outbox.Mail]]:
    def make(**settings: Any) -> tuple[Flask, flask_outbox.Mail]:
        app = make_flask(**settings)
        mail = flask_outbox.Mail()
        mail.init_app(app, db=make_engine("sqlite://"))
        return app, mail

    return make


@pytest.fixture(params=[flask_mail.Message, flask_outbox.Message], ids=["flask_mail", "flask_outbox"])
def message_class(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_every_door_redirects(make_mail: Any, smtp: SmtpServer, door: Any, message_class: Any) -> None:
    app, mail = make_mail(MAIL_ALLOW_TO="friend@b.example", MAIL_REDIRECT_TO="staging@b.example")
    with app.app_context():
        door(mail, message_class("Hello", ["stranger@b.example"], "testing"))
        door(mail, message_class("Hello", ["friend@b.example"], "testing"))
    assert [one.recipient for one in smtp.wait_for(2)] == ["staging@b.example", "friend@b.example"]


def test_every_door_holds_what_the_list_does_not_name(make_mail: Any, smtp: SmtpServer, door: Any) -> None:
    app, mail = make_mail(MAIL_ALLOW_TO="friend@b.example")
    with app.app_context(), pytest.raises(flask_outbox.Held):
        door(mail, flask_outbox.Message("Hello", ["stranger@b.example"], "testing"))
    assert smtp.accepted == []


def test_every_door_verifies_the_certificate(make_mail: Any, smtp: SmtpServer, door: Any, authority: Any) -> None:
    smtp.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(smtp.tls)
    app, mail = make_mail(MAIL_USE_TLS=True)
    with app.app_context(), pytest.raises(Unavailable, match="certificate"):
        door(mail, flask_outbox.Message("Hello", ["to@b.example"], "testing"))
    assert smtp.accepted == []


def test_every_door_has_a_timeout(make_mail: Any, smtp: SmtpServer, door: Any) -> None:
    smtp.on("EHLO", stall, always=True)
    app, mail = make_mail(MAIL_TIMEOUT=0.2)
    begun = time.monotonic()
    with app.app_context(), pytest.raises(Unavailable):
        door(mail, flask_outbox.Message("Hello", ["to@b.example"], "testing"))
    assert time.monotonic() - begun < 3


def test_there_is_no_way_round_the_transport(make_mail: Any, smtp: SmtpServer) -> None:
    app, mail = make_mail()
    with app.app_context(), mail.connect() as connection:
        assert connection.host is None
        with pytest.raises(RuntimeError, match=r"opened by send\(\)"):
            connection.configure_host()
    assert smtp.connections == 0


def test_record_messages_sees_the_outbox_too(make_mail: Any, smtp: SmtpServer) -> None:
    """Also if the bell fails: what was committed was dispatched."""
    app, mail = make_mail()
    metadata = sa.MetaData()
    mail.init_app(app, db=app.extensions["mail"].database.engine)
    for table in flask_outbox.Email.metadata.sorted_tables:
        table.to_metadata(metadata)
    metadata.create_all(app.extensions["mail"].engine)

    def fail() -> None:
        raise LookupError

    app.extensions["mail"].bell.ring = fail
    with app.app_context(), mail.record_messages() as outbox:
        flask_outbox.send_email("a@b.example", "Hi", "hello", name="susan")
    assert [message.subject for message in outbox] == ["Hi"]
