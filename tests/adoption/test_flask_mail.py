"""Flask-Mail's calls in one app, before and after the change of one import."""

from __future__ import annotations

import importlib
from email import message_from_bytes, policy
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask, current_app
from flask_sqlalchemy import SQLAlchemy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask_outbox.testing import SmtpServer

PDF = b"%PDF-1.7 not really \x00\xff"


class App:
    """An app that was written for Flask-Mail; *library* is what its import line says."""

    def __init__(self, library: ModuleType, flask: Flask) -> None:
        self.library, self.flask = library, flask
        self.Message, self.BadHeaderError = library.Message, library.BadHeaderError
        self.mail = library.Mail()
        SQLAlchemy(flask)
        self.mail.init_app(flask)


@pytest.fixture(params=["flask_mail", "flask_outbox"])
def make_app(request: pytest.FixtureRequest, make_flask: Callable[..., Flask], tmp_path: Any) -> Callable[..., App]:
    def make(**settings: Any) -> App:
        settings.setdefault("SQLALCHEMY_DATABASE_URI", f"sqlite:///{tmp_path / 'host.sqlite3'}")
        return App(importlib.import_module(request.param), make_flask(**settings))

    return make


@pytest.fixture
def app(make_app: Callable[..., App]) -> Iterator[App]:
    made = make_app()
    with made.flask.app_context():
        yield made


def only(smtp: SmtpServer) -> Any:
    (accepted,) = smtp.wait_for(1)
    return accepted


# Sending


def test_mail_send(app: App, smtp: SmtpServer) -> None:
    message = app.Message("Hello", sender="from@b.example", recipients=["to@b.example"])
    message.body = "testing"
    message.html = "<b>testing</b>"
    app.mail.send(message)
    accepted = only(smtp)
    assert (accepted.sender, accepted.recipient) == ("from@b.example", "to@b.example")
    assert accepted.message["Subject"] == "Hello"
    assert accepted.message.get_body(("plain",)).get_content().strip() == "testing"
    assert accepted.message.get_body(("html",)).get_content().strip() == "<b>testing</b>"


def test_mail_send_message(app: App, smtp: SmtpServer) -> None:
    app.mail.send_message("Hello", recipients=["to@b.example"], body="testing")
    assert only(smtp).message["Subject"] == "Hello"


def test_many_messages_over_one_connection(app: App, smtp: SmtpServer) -> None:
    with app.mail.connect() as connection:
        for number in range(3):
            connection.send(app.Message("Hello", recipients=[f"{number}@b.example"], body="testing"))
        connection.send_message("Hello", recipients=["3@b.example"], body="testing")
        app.Message("Hello", recipients=["4@b.example"], body="testing").send(connection)
    assert [one.recipient for one in smtp.wait_for(5)] == [f"{number}@b.example" for number in range(5)]
    assert smtp.connections == 1


def test_max_emails_opens_a_new_connection(make_app: Callable[..., App], smtp: SmtpServer) -> None:
    app = make_app(MAIL_MAX_EMAILS=2)
    with app.flask.app_context(), app.mail.connect() as connection:
        for _ in range(5):
            connection.send_message("Hello", recipients=["to@b.example"], body="testing")
    assert len(smtp.wait_for(5)) == 5
    assert smtp.connections == 3


def test_the_state_in_the_extensions_sends_as_other_extensions_call_it(app: App, smtp: SmtpServer) -> None:
    state = current_app.extensions["mail"]
    state.send(app.Message("Hello", recipients=["to@b.example"], body="testing"))
    state.send_message("Hello", recipients=["two@b.example"], body="testing")
    with state.connect() as connection:
        connection.send(app.Message("Hello", recipients=["three@b.example"], body="testing"))
    assert [one.recipient for one in smtp.wait_for(3)] == ["to@b.example", "two@b.example", "three@b.example"]


def test_it_works_outside_of_a_context_with_the_app_at_hand(make_app: Callable[..., App], smtp: SmtpServer) -> None:
    app = make_app()
    mail = app.library.Mail(app.flask)
    with app.flask.app_context():
        message = app.Message("Hello", recipients=["to@b.example"], body="testing")
        mail.send(message)
    assert mail.state is app.flask.extensions["mail"]
    assert (mail.server, mail.port, mail.suppress) == ("127.0.0.1", smtp.port, False)
    assert only(smtp).recipient == "to@b.example"


# Messages


def test_a_sender_may_be_written_in_three_ways(app: App, smtp: SmtpServer) -> None:
    for sender in (None, "me@b.example", ("Me Myself", "me@b.example"), "Me Myself <me@b.example>"):
        app.mail.send(app.Message("Hello", recipients=["to@b.example"], body="testing", sender=sender))
    assert [one.message["From"] for one in smtp.wait_for(4)] == [
        "Host <host@b.example>",
        "me@b.example",
        "Me Myself <me@b.example>",
        "Me Myself <me@b.example>",
    ]


def test_a_default_sender_may_be_a_tuple(make_app: Callable[..., App], smtp: SmtpServer) -> None:
    app = make_app(MAIL_DEFAULT_SENDER=("The Shop", "shop@b.example"))
    with app.flask.app_context():
        message = app.Message("Hello", recipients=["to@b.example"], body="testing")
        assert message.sender == "The Shop <shop@b.example>"
        app.mail.send(message)
    assert only(smtp).message["From"] == "The Shop <shop@b.example>"
    assert only(smtp).sender == "shop@b.example"


def test_every_recipient_gets_it_and_bcc_is_hidden(app: App, smtp: SmtpServer) -> None:
    message = app.Message("Hello", recipients=["to@b.example"], cc=["cc@b.example"], bcc=["bcc@b.example"], body="testing")
    message.add_recipient(("Two", "two@b.example"))
    assert message.send_to == {"to@b.example", ("Two", "two@b.example"), "cc@b.example", "bcc@b.example"}
    app.mail.send(message)
    accepted = smtp.wait_for(4)
    assert {one.recipient for one in accepted} == {"to@b.example", "two@b.example", "cc@b.example", "bcc@b.example"}
    assert set(str(accepted[0].message["To"]).split(", ")) == {"to@b.example", "Two <two@b.example>"}
    assert accepted[0].message["Cc"] == "cc@b.example"
    assert b"bcc@b.example" not in accepted[0].source


def test_headers_arrive_as_they_were_given(app: App, smtp: SmtpServer) -> None:
    app.mail.send(
        app.Message(
            "Grüße aus Köln",
            recipients=["to@b.example"],
            body="schöne Grüße",
            reply_to="reply@b.example",
            date=1_700_000_000.0,
            extra_headers={"X-Extra": "value", "List-Unsubscribe": "<https://b.example/u>"},
        )
    )
    message = only(smtp).message
    assert message["Subject"] == "Grüße aus Köln"
    assert message.get_body().get_content().strip() == "schöne Grüße"
    assert message["Reply-To"] == "reply@b.example"
    assert message["Date"].datetime.timestamp() == 1_700_000_000
    assert (message["X-Extra"], message["List-Unsubscribe"]) == ("value", "<https://b.example/u>")
    assert message["Message-ID"]


def test_attachments_arrive_byte_for_byte(app: App, smtp: SmtpServer) -> None:
    message = app.Message("Hello", recipients=["to@b.example"], body="testing", html="<b>testing</b>")
    message.attach("invoice.pdf", "application/pdf", PDF)
    message.attach("notes.txt", data="plain text")
    message.attach("Übersicht.pdf", "application/pdf", PDF)
    message.attach("logo.png", "image/png", b"\x89PNG", "inline", headers={"Content-ID": "<logo>"})
    app.mail.send(message)
    attached = {part.get_filename(): part for part in only(smtp).message.walk() if part.get_filename()}
    assert attached.keys() == {"invoice.pdf", "notes.txt", "Übersicht.pdf", "logo.png"}
    assert attached["invoice.pdf"].get_content() == PDF
    assert attached["notes.txt"].get_content_type() == "text/plain"
    assert attached["invoice.pdf"].get_content_disposition() == "attachment"
    assert (attached["logo.png"].get_content_disposition(), attached["logo.png"]["Content-ID"]) == ("inline", "<logo>")


def test_attachments_may_be_handed_over(app: App, smtp: SmtpServer) -> None:
    attachment = app.library.Attachment("a.csv", "text/csv", "a;b")
    app.mail.send(app.Message("Hello", recipients=["to@b.example"], body="testing", attachments=[attachment]))
    assert [part.get_filename() for part in only(smtp).message.iter_attachments()] == ["a.csv"]
    with pytest.raises(ValueError, match="data"):
        app.library.Attachment("a.csv", "text/csv")


def test_alternatives_stand_beside_the_text(app: App, smtp: SmtpServer) -> None:
    message = app.Message("Hello", recipients=["to@b.example"], body="testing", html="<b>testing</b>")
    assert message.alts == {"html": "<b>testing</b>"}
    message.alts["x-amp-html"] = "<html amp4email>"
    app.mail.send(message)
    types = [part.get_content_type() for part in only(smtp).message.walk()]
    assert [one for one in types if one.startswith("text/")] == ["text/plain", "text/html", "text/x-amp-html"]


def test_a_message_can_be_read_before_it_is_sent(app: App) -> None:
    message = app.Message("Hello", recipients=["to@b.example"], body="testing")
    for text in (message.as_bytes(), bytes(message), message.as_string().encode(), str(message).encode()):
        parsed = message_from_bytes(text, policy=policy.default)
        assert (parsed["Subject"], parsed["To"], parsed["Message-ID"]) == ("Hello", "to@b.example", message.msgId)
    assert not message.has_bad_headers()


# Tests of the host


def test_suppressed_mail_is_recorded_and_not_sent(make_app: Callable[..., App], smtp: SmtpServer) -> None:
    for settings in ({"MAIL_SUPPRESS_SEND": True}, {"TESTING": True}):
        app = make_app(**settings)
        with app.flask.app_context(), app.mail.record_messages() as outbox:
            app.mail.send_message(subject="testing", body="test", recipients=["to@b.example"])
            assert len(outbox) == 1
            assert outbox[0].subject == "testing"
            assert outbox[0].date is not None
    assert smtp.connections == 0


def test_testing_may_send_all_the_same(make_app: Callable[..., App], smtp: SmtpServer) -> None:
    app = make_app(TESTING=True, MAIL_SUPPRESS_SEND=False)
    with app.flask.app_context(), app.mail.record_messages() as outbox:
        app.mail.send_message(subject="testing", body="test", recipients=["to@b.example"])
    assert (len(outbox), len(smtp.wait_for(1))) == (1, 1)


def test_sending_may_be_suppressed_later(app: App, smtp: SmtpServer) -> None:
    current_app.extensions["mail"].suppress = True
    app.mail.send_message(subject="testing", body="test", recipients=["to@b.example"])
    assert smtp.connections == 0


def test_email_dispatched_tells_the_app_and_the_message(app: App) -> None:
    seen: list[tuple[object, object]] = []
    message = app.Message("Hello", recipients=["to@b.example"], body="testing")

    def note(sender: Flask, *, message: object) -> None:
        seen.append((sender, message))

    with app.library.email_dispatched.connected_to(note, sender=app.flask):
        app.mail.send(message)
    assert seen == [(app.flask, message)]
    assert seen[0][0] is app.flask


# Errors


@pytest.mark.parametrize(
    "values",
    [
        {"subject": "Hello\r\nBcc: eve@evil.example"},
        {"subject": "Hello\n\nworld"},
        {"sender": "me@b.example\r\nBcc: eve@evil.example"},
        {"recipients": ["to@b.example\nBcc: eve@evil.example"]},
        {"reply_to": "me@b.example\r\nBcc: eve@evil.example"},
    ],
    ids=["subject", "empty line", "sender", "recipients", "reply_to"],
)
def test_a_line_break_in_a_header_can_be_caught_as_bad_header_error(app: App, smtp: SmtpServer, values: dict[str, Any]) -> None:
    message = app.Message(**({"subject": "Hello", "recipients": ["to@b.example"], "body": "testing"} | values))
    assert message.has_bad_headers()
    with pytest.raises(app.BadHeaderError):
        app.mail.send(message)
    assert smtp.accepted == []


def test_without_recipients_or_sender_nothing_is_sent(make_app: Callable[..., App], smtp: SmtpServer) -> None:
    app = make_app(MAIL_DEFAULT_SENDER=None)
    with app.flask.app_context():
        for message in (
            app.Message("Hello", recipients=[], body="testing", sender="me@b.example"),
            app.Message("Hello", recipients=["to@b.example"], body="testing"),
        ):
            with pytest.raises(AssertionError):
                app.mail.send(message)
    assert smtp.accepted == []


def test_outside_of_a_context_it_is_a_runtime_error(make_app: Callable[..., App]) -> None:
    app = make_app()
    with pytest.raises(RuntimeError, match="application context"):
        app.mail.send_message("Hello", recipients=["to@b.example"], body="testing")
