"""The arguments of Flask-Mail's Message: honoured or refused with a sentence, never dropped; and lazy strings in all of them."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask
from flask_mail import Attachment
from flask_mail import Mail as PlainMail

from flask_outbox import InvalidMessage, Message, compose
from flask_outbox.bulk.merge import MailMerge
from flask_outbox.message.writer import write
from tests.outbox.readers import read, texts

if TYPE_CHECKING:
    from collections.abc import Iterator


class Lazy:
    """A string that is translated when it is read, and otherwise behaves like one, as Flask-Babel's lazy_gettext returns it."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text

    def __getattr__(self, name: str) -> Any:
        return getattr(self._text, name)


@pytest.fixture
def plain_app() -> Iterator[Flask]:
    app = Flask("test")
    PlainMail(app)
    with app.app_context():
        yield app


def make(**changes: Any) -> Any:
    from flask_mail import Message as PlainMessage

    values: dict[str, Any] = {"subject": "Hi", "recipients": ["a@b.example"], "body": "text", "sender": "me@b.example"}
    return PlainMessage(**values | changes)


# Options and charset


@pytest.mark.usefixtures("plain_app")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mail_options": ["RET=HDRS"]}, "mail_options holds 'RET=HDRS', which is not supported"),
        ({"mail_options": ["SMTPUTF8", "ENVID=1"]}, "mail_options holds 'ENVID=1'"),
        ({"rcpt_options": ["NOTIFY=SUCCESS"]}, "rcpt_options holds 'NOTIFY=SUCCESS', which is not supported"),
        ({"charset": "iso-8859-1"}, "the charset is 'iso-8859-1': every message is UTF-8"),
        ({"charset": "no such"}, "the charset is 'no such'"),
        ({"charset": 5}, "the charset is 5"),
    ],
)
def test_what_is_not_supported_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidMessage, match=said):
        write(make(**changes))


@pytest.mark.usefixtures("plain_app")
@pytest.mark.parametrize(
    "changes",
    [{"charset": charset} for charset in (None, "", "utf-8", "UTF8", "us-ascii")]
    + [{"mail_options": options} for options in (None, [], ["SMTPUTF8"], ["BODY=8BITMIME", "size=10"])]
    + [{"rcpt_options": options} for options in (None, [])],
)
def test_what_the_library_does_anyway_is_accepted(changes: dict[str, Any]) -> None:
    assert texts(read(write(make(body="ä", **changes)).source), "plain") == "ä\n"


# Lazy strings


@pytest.mark.usefixtures("plain_app")
def test_every_text_may_be_lazy() -> None:
    message = make(
        subject=Lazy("Grüße"),
        body=Lazy("Hällo"),
        html=Lazy("<p>Hällo"),
        recipients=[(Lazy("Zoë"), "a@b.example")],
        extra_headers={"X-Tag": Lazy("ä")},
        attachments=[Attachment(Lazy("ä.txt"), "text/plain", b"x")],  # type: ignore[arg-type]
    )
    reading = read(write(message).source)
    assert (texts(reading, "plain"), texts(reading, "html")) == ("Hällo\n", "<p>Hällo\n")
    assert reading.python["Subject"] == "Grüße"
    assert reading.people == [("Zoë", "a@b.example")]
    assert reading.python["X-Tag"] == "ä"
    assert reading.attachments == [("text/plain", "ä.txt", b"x")]


@pytest.mark.usefixtures("context")
def test_a_lazy_subject_gets_the_prefix() -> None:
    class User:
        username = "susan"

    subject: Any = Lazy("Grüße")
    assert compose("a@b.example", subject, "mail/new_user", user=User()).subject == "[Flasky] Grüße"
    assert MailMerge(subject, "mail/new_user").compose("a@b.example", {"user": User()}).subject == "[Flasky] Grüße"
    sender: Any = (Lazy("Zoë"), "z@b.example")
    assert Message(Lazy("Hi"), ["a@b.example"], "x", sender=sender).sender == "Zoë <z@b.example>"


@pytest.mark.usefixtures("context")
@pytest.mark.parametrize("name", ["Doe, John", "a@b.example", "<me>", 'the "boss"', "Zoë (智子)", "a, b@c.example"])
def test_a_pair_for_the_sender_keeps_its_name(name: str) -> None:
    message = Message("Hi", ["a@b.example"], "x", sender=(name, "me@b.example"))
    assert read(write(message).source).mailboxes("From") == [(name, "me@b.example")]


# Date


@pytest.mark.usefixtures("plain_app")
def test_the_date_is_the_moment_it_goes_out() -> None:
    tomorrow = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    assert date_of(make(), send_at=tomorrow) == tomorrow
    assert abs(date_of(make()) - datetime.now(UTC)) < timedelta(minutes=1)
    assert abs(date_of(make(), send_at=tomorrow - timedelta(days=9)) - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.usefixtures("plain_app")
def test_a_date_of_the_callers_own_stays() -> None:
    assert date_of(make(date=1_700_000_000.0), send_at=datetime.now(UTC) + timedelta(days=1)).timestamp() == 1_700_000_000
    assert date_of(make(date=time.time() + 10**6)) > datetime.now(UTC) + timedelta(days=11)


def date_of(message: Any, **options: Any) -> datetime:
    date: datetime = read(write(message, **options).source).python["Date"].datetime
    return date
