"""The scripted SMTP server, asked by the standard library's client."""

from __future__ import annotations

import ast
import smtplib
import ssl
import sys
import threading
import time
from email.message import EmailMessage
from email.policy import SMTP
from typing import TYPE_CHECKING, Any

import pytest

from flask_outbox.testing import (
    Drop,
    SmtpServer,
    SmtpSession,
    accept_then_drop,
    accept_then_stall,
    drip,
    drop,
    garbage,
    reply,
    slow,
    stall,
    usual_then_drop,
)
from tests.servers import ROOT, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    import trustme

TIMEOUT = 0.5
MAIL = EmailMessage()
MAIL["Subject"] = "Grüße"
MAIL["Message-ID"] = "<1@example.com>"
MAIL.set_content(".a dot first\n.\nlast\n")
SOURCE = MAIL.as_bytes(policy=SMTP)


@pytest.fixture
def client(smtp: SmtpServer) -> Iterator[smtplib.SMTP]:
    one = smtplib.SMTP(smtp.host, smtp.port, timeout=TIMEOUT)
    yield one
    one.close()


def send(client: smtplib.SMTP, *recipients: str) -> Any:
    return client.sendmail("a@example.com", recipients or ["b@example.com"], SOURCE)


def test_it_keeps_each_message_with_its_envelope_raw_and_parsed(smtp: SmtpServer, client: smtplib.SMTP) -> None:
    before = time.monotonic()
    send(client, "b@example.com", "c@example.com")
    client.quit()
    first, second = smtp.accepted
    assert (first.sender, first.recipient, second.recipient) == ("a@example.com", "b@example.com", "c@example.com")
    assert first.message["Subject"] == "Grüße"
    assert first.message.get_content().replace("\r\n", "\n") == ".a dot first\n.\nlast\n"
    assert first.source == second.source == SOURCE
    assert first.message_id == "<1@example.com>"
    assert before <= first.at <= time.monotonic()
    assert [command.split(" ")[0].upper() for command in smtp.commands] == ["EHLO", "MAIL", "RCPT", "RCPT", "DATA", "QUIT"]
    assert (smtp.connections, smtp.most_open) == (1, 1)


def test_an_answer_holds_once_and_then_the_usual_comes_back(smtp: SmtpServer, client: smtplib.SMTP) -> None:
    smtp.on("RCPT", reply("451 4.7.1 later"), reply("550 5.1.1 nobody"))
    for code in (451, 550):
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            send(client)
        assert refused.value.recipients["b@example.com"][0] == code
    assert send(client) == {}
    assert len(smtp.accepted) == 1


def test_an_answer_for_always_holds_until_a_reset(smtp: SmtpServer, client: smtplib.SMTP) -> None:
    smtp.on("DOT", reply("554 5.6.0 no"), always=True)
    for _ in range(2):
        with pytest.raises(smtplib.SMTPDataError):
            send(client)
    smtp.on("DOT", slow(0))
    send(client)
    with pytest.raises(smtplib.SMTPDataError):
        send(client)
    smtp.reset()
    send(client)
    assert len(smtp.accepted) == 2


def test_only_the_recipients_that_were_taken_get_the_message(smtp: SmtpServer, client: smtplib.SMTP) -> None:
    smtp.on("RCPT", slow(0), reply("550 5.1.1 nobody"))
    assert list(send(client, "b@example.com", "c@example.com", "d@example.com")) == ["c@example.com"]
    assert [one.recipient for one in smtp.accepted] == ["b@example.com", "d@example.com"]


MISBEHAVIOUR = [
    (drop, 0),
    (stall, 0),
    (garbage, 0),
    (accept_then_drop, 1),
    (accept_then_stall, 1),
    (slow(2 * TIMEOUT), 1),
]


@pytest.mark.parametrize(("answer", "accepted"), MISBEHAVIOUR)
def test_each_misbehaviour_after_the_dot_fails_the_client(
    smtp: SmtpServer, client: smtplib.SMTP, answer: Any, accepted: int
) -> None:
    client.ehlo()
    client.sock.settimeout(TIMEOUT)
    smtp.on("DOT", answer)
    with pytest.raises((smtplib.SMTPException, OSError)):
        send(client)
    wait_until(lambda: len(smtp.accepted) == accepted)


def test_it_can_drip_its_reply(smtp: SmtpServer, client: smtplib.SMTP) -> None:
    smtp.on("DOT", drip(0.02))
    begun = time.monotonic()
    send(client)
    assert time.monotonic() - begun > 0.02 * len("250 2.0.0 accepted")
    assert len(smtp.accepted) == 1


def test_it_can_say_goodbye_and_close(smtp: SmtpServer, client: smtplib.SMTP) -> None:
    smtp.on("DOT", usual_then_drop)
    send(client)
    with pytest.raises(smtplib.SMTPServerDisconnected):
        client.noop()


def test_an_answer_of_your_own_sees_the_envelope_and_the_message(smtp: SmtpServer, client: smtplib.SMTP) -> None:
    seen: list[Any] = []

    def look(session: SmtpSession, usual: str) -> None:
        seen.append((usual, session.sender, session.recipients, session.source, session.is_encrypted))
        session.say("421 4.3.2 enough")
        raise Drop

    smtp.on("DOT", look)
    with pytest.raises(smtplib.SMTPException):
        send(client)
    assert seen == [("250 2.0.0 accepted", "a@example.com", ["b@example.com"], SOURCE, False)]
    assert smtp.accepted == []


def test_what_is_said_unasked_changes_nothing(smtp: SmtpServer, client: smtplib.SMTP) -> None:
    smtp.on("RCPT", lambda session, usual: session.say_unasked("550 5.1.1 nobody"))
    client.ehlo()
    client.mail("a@example.com")
    assert client.rcpt("b@example.com")[0] == 550
    assert client.data(SOURCE)[0] == 250
    assert [one.recipient for one in smtp.accepted] == ["b@example.com"]


def test_a_message_that_was_broken_off_is_kept_apart(smtp: SmtpServer, client: smtplib.SMTP) -> None:
    client.ehlo()
    client.mail("a@example.com")
    client.rcpt("b@example.com")
    client.docmd("DATA")
    client.send(b"Subject: hal")
    client.close()
    wait_until(lambda: smtp.abandoned)
    assert smtp.abandoned == [b"Subject: hal"]
    assert smtp.accepted == []


def test_it_knows_the_order_of_commands(smtp: SmtpServer, client: smtplib.SMTP) -> None:
    client.ehlo()
    assert client.docmd("DATA")[0] == 554
    assert client.docmd("VRFY", "b@example.com")[0] == 500
    assert client.rset()[0] == client.noop()[0] == 250
    assert client.helo()[0] == 250


def test_it_offers_what_it_is_told_to(smtp: SmtpServer, client: smtplib.SMTP) -> None:
    client.ehlo()
    assert client.esmtp_features == {"pipelining": "", "size": "10485760", "smtputf8": ""}
    smtp.extensions[:] = ["8BITMIME"]
    client.ehlo()
    assert client.esmtp_features == {"8bitmime": ""}


@pytest.mark.parametrize(("password", "is_right"), [("secret", True), ("wrong", False)])
def test_it_checks_a_password(smtp: SmtpServer, client: smtplib.SMTP, password: str, is_right: bool) -> None:
    smtp.password = ("me", "secret")
    client.ehlo()
    client.esmtp_features["auth"] = "PLAIN"
    if is_right:
        client.login("me", password)
    else:
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login("me", password)
    assert client.docmd("AUTH", "PLAIN =?=")[0] == 535
    assert client.docmd("AUTH", "LOGIN")[0] == 535


@pytest.mark.parametrize("implicit", [True, False])
def test_it_encrypts(smtp: SmtpServer, authority: trustme.CA, implicit: bool) -> None:
    smtp.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(smtp.host).configure_cert(smtp.tls)
    smtp.implicit_tls = implicit
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    kind: Any = smtplib.SMTP_SSL if implicit else smtplib.SMTP
    with kind(smtp.host, smtp.port, timeout=TIMEOUT, **({"context": trusting} if implicit else {})) as client:
        if not implicit:
            client.starttls(context=trusting)
        send(client)
        assert not client.has_extn("STARTTLS")
    assert len(smtp.accepted) == 1


def test_waiting_ends_with_the_message_or_with_the_time(smtp: SmtpServer, client: smtplib.SMTP) -> None:
    with pytest.raises(TimeoutError, match="0 of 1 messages"):
        smtp.wait_for(1, seconds=0.05)
    send(client)
    assert smtp.wait_for(1) == smtp.accepted


def test_a_script_with_a_mistake_is_refused(smtp: SmtpServer) -> None:
    with pytest.raises(ValueError, match="'RCTP' is no stage: use one of CONNECT, EHLO"):
        smtp.on("RCTP", drop)
    with pytest.raises(ValueError, match="exactly one answer"):
        smtp.on("RCPT", drop, stall, always=True)


def test_when_it_is_stopped_nothing_is_left() -> None:
    with SmtpServer() as server:
        server.on("MAIL", stall)
        client = smtplib.SMTP(server.host, server.port, timeout=5)
        client.ehlo()
        client.putcmd("MAIL", "FROM:<a@example.com>")
        wait_until(lambda: len(server.commands) == 2)
    assert not [thread for thread in threading.enumerate() if thread.name == "smtp-server"]
    with pytest.raises(OSError, match=r"refused|reset"):
        smtplib.SMTP(server.host, server.port, timeout=1)
    client.close()


@pytest.mark.parametrize("name", ["answers", "smtp_commands", "smtp_server", "smtp_session"])
def test_it_needs_the_standard_library_alone(name: str) -> None:
    tree = ast.parse((ROOT / "flask_outbox/testing" / f"{name}.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert {alias.name.partition(".")[0] for alias in node.names} <= sys.stdlib_module_names
        elif isinstance(node, ast.ImportFrom):
            own = {"answers", "smtp_commands", "smtp_server", "smtp_session"}
            assert node.module in own if node.level else str(node.module).partition(".")[0] in sys.stdlib_module_names
