"""What stays of Flask-Mail: mail.send(), mail.connect(), record_messages(), over our transport."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

import flask_mail
import pytest
from flask import Flask

from flask_outbox import ConfigurationError, Deferred, InvalidMessage, Mail, Message, Refused, Unavailable
from flask_outbox.message.writer import write
from flask_outbox.testing import accept_then_drop, drop, garbage, reply, stall
from flasky.mail import mail
from tests.outbox.readers import read
from tests.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_outbox.testing import SmtpServer


def message(*recipients: Any, **values: Any) -> Message:
    return Message("test email", list(recipients or ["a@b.example"]), "text", html="<p>text", sender="me@b.example", **values)


@pytest.mark.usefixtures("context")
def test_it_sends_at_once_and_records(smtp: SmtpServer) -> None:
    with mail.record_messages() as recorded:
        one = message()
        mail.send(one)
    (accepted,) = smtp.accepted
    assert (accepted.sender, accepted.recipient) == ("me@b.example", "a@b.example")
    assert read(accepted.source).structure == ["multipart/alternative", "text/plain", "text/html"]
    assert recorded == [one]
    assert isinstance(one, flask_mail.Message)
    assert abs(one.date - time.time()) < 60


@pytest.mark.usefixtures("context")
def test_send_message_takes_the_same_arguments(smtp: SmtpServer) -> None:
    mail.send_message("test email", recipients=["a@b.example"], body="x")
    assert smtp.accepted[0].message["From"] == "Flasky Admin <flasky@example.com>"


@pytest.mark.usefixtures("context")
def test_everybody_gets_it_once_and_bcc_stays_hidden(smtp: SmtpServer) -> None:
    mail.send(message("a@b.example", "a@b.example", cc=["c@b.example"], bcc=["hidden@b.example"]))
    assert [one.recipient for one in smtp.accepted] == ["a@b.example", "c@b.example", "hidden@b.example"]
    assert len({one.source for one in smtp.accepted}) == 1
    assert b"hidden@b.example" not in smtp.accepted[0].source


@pytest.mark.usefixtures("context")
@pytest.mark.parametrize(
    ("answer", "error"), [("550 5.1.1 no such user", Refused), ("451 4.7.1 greylisted", Deferred)], ids=["never", "not now"]
)
def test_a_refused_recipient_is_named_and_the_others_get_theirs(smtp: SmtpServer, answer: str, error: type) -> None:
    smtp.on("RCPT", lambda session, usual: session.say(usual), reply(answer))
    with mail.record_messages() as recorded, pytest.raises(error, match=r"b@b\.example: .*" + answer[:9]) as raised:
        mail.send(message("a@b.example", "b@b.example", "c@b.example"))
    assert raised.value.code == int(answer[:3])
    assert "a@b.example" not in str(raised.value)
    assert "c@b.example" not in str(raised.value)
    assert [one.recipient for one in smtp.wait_for(2)] == ["a@b.example", "c@b.example"]
    assert recorded == []


@pytest.mark.usefixtures("context")
def test_every_recipient_that_is_refused_is_named(smtp: SmtpServer) -> None:
    smtp.on("RCPT", reply("550 5.1.1 no such user"), reply("451 4.7.1 later"))
    with pytest.raises(Refused, match=r"a@b\.example: 550 .*; b@b\.example: 451 ") as raised:
        mail.send(message("a@b.example", "b@b.example", "c@b.example"))
    assert (raised.value.code, raised.value.enhanced) == (550, "5.1.1")
    assert [one.recipient for one in smtp.accepted] == ["c@b.example"]


@pytest.mark.usefixtures("context")
def test_where_the_server_goes_away_in_between_those_who_were_not_served_are_named(smtp: SmtpServer) -> None:
    smtp.on("MAIL", lambda session, usual: session.say(usual))
    smtp.on("MAIL", reply("421 4.3.2 going down"), always=True)
    with pytest.raises(Unavailable, match=r"^b@b\.example, c@b\.example: 421 4\.3\.2"):
        mail.send(message("a@b.example", "b@b.example", "c@b.example"))
    assert [one.recipient for one in smtp.accepted] == ["a@b.example"]


@pytest.mark.parametrize("stage", ["CONNECT", "EHLO"])
@pytest.mark.parametrize("behaviour", [drop, garbage, stall, reply("554 5.3.2 go away")], ids=["drop", "garbage", "stall", "554"])
def test_without_a_server_it_is_unavailable_within_the_timeout(
    make_app: Callable[..., Flask], smtp: SmtpServer, stage: str, behaviour: Any
) -> None:
    smtp.on(stage, behaviour, always=True)
    begun = time.monotonic()
    with make_app(mail_timeout=0.3).app_context(), pytest.raises(Unavailable):
        mail.send(message())
    assert time.monotonic() - begun < 3
    assert smtp.accepted == []


def test_a_server_that_nobody_runs_is_unavailable(make_app: Callable[..., Flask]) -> None:
    with make_app(mail_port=free_port()).app_context(), pytest.raises(Unavailable, match=r"127\.0\.0\.1"):
        mail.send(message())


@pytest.mark.usefixtures("context")
@pytest.mark.parametrize("behaviour", [drop, garbage, reply("500 what?"), stall], ids=["drop", "garbage", "500", "stall"])
def test_a_goodbye_that_fails_is_no_failure_and_no_second_copy(
    make_app: Callable[..., Flask], smtp: SmtpServer, behaviour: Any
) -> None:
    smtp.on("QUIT", behaviour, always=True)
    begun = time.monotonic()
    with make_app(mail_timeout=0.5).app_context():
        mail.send(message())
    assert len(smtp.accepted) == 1
    assert time.monotonic() - begun < 3


@pytest.mark.usefixtures("context")
def test_a_server_that_accepts_and_says_nothing_leaves_it_uncertain(smtp: SmtpServer) -> None:
    smtp.on("DOT", accept_then_drop)
    with pytest.raises(Deferred) as raised:
        mail.send(message())
    assert raised.value.uncertain
    assert len(smtp.accepted) == 1


@pytest.mark.usefixtures("context")
@pytest.mark.parametrize(("answer", "ours"), [("530 5.7.0 Authentication required", True), ("421 4.3.2 going down", False)])
def test_an_unavailable_server_says_whether_the_cause_is_ours(smtp: SmtpServer, answer: str, *, ours: bool) -> None:
    smtp.on("MAIL", reply(answer), always=True)
    with pytest.raises(Unavailable) as raised:
        mail.send(message())
    assert (raised.value.ours, raised.value.enhanced) == (ours, answer.split()[1])


@pytest.mark.usefixtures("context")
def test_one_connection_serves_many_messages(smtp: SmtpServer) -> None:
    with mail.connect() as connection:
        for number in range(5):
            connection.send(message(f"number{number}@b.example"))
        message("last@b.example").send(connection)
        connection.send_message("test email", ["very@b.example"], "x")
        assert connection.num_emails == 7
    assert (len(smtp.accepted), smtp.connections) == (7, 1)
    assert smtp.commands[-1] == "QUIT"


@pytest.mark.usefixtures("context")
def test_a_connection_that_broke_in_between_is_replaced(smtp: SmtpServer) -> None:
    with mail.connect() as connection:
        connection.send(message())
        smtp.on("MAIL", drop)
        connection.send(message())
    assert (len(smtp.accepted), smtp.connections) == (2, 2)


@pytest.mark.usefixtures("context")
def test_a_connection_also_works_without_with(smtp: SmtpServer) -> None:
    connection = mail.connect()
    connection.send(message())
    connection.__exit__(None, None, None)
    assert len(smtp.accepted) == 1


def test_after_so_many_emails_it_is_a_new_connection(make_app: Callable[..., Flask], smtp: SmtpServer) -> None:
    with make_app(mail_max_emails=2).app_context(), mail.connect() as connection:
        for _ in range(5):
            connection.send(message())
    assert (len(smtp.accepted), smtp.connections) == (5, 3)


@pytest.mark.usefixtures("context")
def test_an_unusable_message_is_refused_before_anything_is_sent(smtp: SmtpServer) -> None:
    for bad in (
        message("a@b.example", "nobody"),
        message(extra_headers={"X": "a\u2028Bcc: eve@evil.example"}),
        message(cc="c@b.example"),
    ):
        with pytest.raises(InvalidMessage):
            mail.send(bad)
    assert (smtp.accepted, smtp.connections) == ([], 0)


@pytest.mark.usefixtures("context")
def test_the_envelope_may_have_another_sender(smtp: SmtpServer) -> None:
    with mail.connect() as connection:
        connection.send(message(), envelope_from=("Bounces", "bounces@b.example"))
        with pytest.raises(InvalidMessage, match="envelope_from"):
            connection.send(message(), envelope_from="nobody")
    assert smtp.accepted[0].sender == "bounces@b.example"
    assert smtp.accepted[0].message["From"] == "me@b.example"


def test_suppressed_mail_is_checked_and_recorded_and_not_sent(make_app: Callable[..., Flask], smtp: SmtpServer) -> None:
    with make_app(mail_suppress_send=True).app_context(), mail.record_messages() as recorded:
        mail.send(message())
        with pytest.raises(InvalidMessage):
            mail.send(message("nobody"))
    assert len(recorded) == 1
    assert smtp.connections == 0


@pytest.mark.usefixtures("context")
def test_the_same_message_sent_twice_is_two_mails(smtp: SmtpServer) -> None:
    one = message()
    mail.send(one)
    mail.send(one)
    assert len({accepted.message_id for accepted in smtp.accepted}) == 2


@pytest.mark.usefixtures("context")
def test_what_is_sent_is_what_the_writer_writes(smtp: SmtpServer) -> None:
    one = Message("Zoë", ["a@b.example"], ".\r\n", date=1.0, extra_headers={"Message-ID": "<a@b.example>"})
    mail.send(one)
    assert smtp.accepted[0].source == write(one).source


def test_the_mail_package_asks_for_the_database_first() -> None:
    with pytest.raises(ConfigurationError, match=r"call db\.init_app\(app\) before mail\.init_app\(app\)"):
        Mail().init_app(Flask("other"))


@pytest.mark.usefixtures("context")
def test_the_shell_has_at_hand_what_the_manual_says(app: Flask, smtp: SmtpServer) -> None:
    names = app.make_shell_context()
    one = names["Message"]("test email", sender="you@example.com", recipients=["you@example.com"], body="x", html="y")
    names["mail"].send(one)
    names["send_email"]("you@example.com", "Hi", "mail/new_user", user=names["User"](username="susan"))
    assert [accepted.recipient for accepted in smtp.wait_for(2)] == ["you@example.com"] * 2
    assert names["db"].session.scalars(names["db"].select(names["Email"])).one().status == "sent"


def test_a_message_does_not_ask_the_resolver(context: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getfqdn", lambda *_: pytest.fail("asked for this host's name"))
    Message("hi", ["b@example.com"], "text", sender="a@example.com")
