"""What the server may do at each stage of a conversation, and the error that comes of it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from flask_outbox.errors import Deferred, Refused, Unavailable
from flask_outbox.smtp.envelope import Envelope
from flask_outbox.smtp.server import Server
from flask_outbox.smtp.transport import Transport
from flask_outbox.testing import (
    Drop,
    SmtpServer,
    accept_then_drop,
    accept_then_stall,
    drip,
    drop,
    garbage,
    reply,
    stall,
    usual_then_drop,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

MAIL = b"Subject: hi\r\n\r\n.a line that begins with a dot\r\n..and two\r\n"
TIMEOUT = 0.2


@pytest.fixture
def transport(smtp: SmtpServer) -> Iterator[Transport]:
    one = Transport(Server("127.0.0.1", smtp.port, timeout=TIMEOUT))
    yield one
    one.close()


def send(transport: Transport, recipient: str = "b@example.com") -> Any:
    return transport.transmit(Envelope("a@example.com", recipient, MAIL))


def refuse_and_hang_up(text: str) -> Any:
    """Do what Exim's "drop" does."""

    def behave(session: Any, usual: str) -> None:
        session.say(text)
        raise Drop

    return behave


SENT = None
# One row for each point and misbehaviour: what becomes of the email, and how many copies the server has accepted.
TABLE = [
    ("CONNECT", drop, Unavailable, 0),
    ("CONNECT", stall, Unavailable, 0),
    ("CONNECT", reply("421 4.3.2 too busy"), Unavailable, 0),
    ("CONNECT", reply("554 5.7.1 not you"), Unavailable, 0),
    ("CONNECT", garbage, Unavailable, 0),
    ("CONNECT", drip(0.002), SENT, 1),
    ("CONNECT", drip(0.05), Unavailable, 0),
    ("EHLO", drop, Unavailable, 0),
    ("EHLO", stall, Unavailable, 0),
    ("EHLO", reply("421 4.3.2 going down"), Unavailable, 0),
    ("EHLO", reply("502 5.5.1 what?"), SENT, 1),  # HELO is tried
    ("EHLO", garbage, Unavailable, 0),
    ("EHLO", drip(0.05), Unavailable, 0),
    ("MAIL", drop, Deferred, 0),
    ("MAIL", stall, Deferred, 0),
    ("MAIL", reply("421 4.3.2 going down"), Unavailable, 0),
    ("MAIL", reply("451 4.3.0 later"), Deferred, 0),
    ("MAIL", reply("530 5.7.0 authentication required"), Unavailable, 0),
    ("MAIL", reply("550 5.7.1 sender rejected"), Unavailable, 0),
    ("MAIL", reply("552 5.3.4 message too big"), Refused, 0),
    ("MAIL", garbage, Deferred, 0),
    ("MAIL", drip(0.05), Deferred, 0),
    ("MAIL", drip(0.002), SENT, 1),
    ("RCPT", drop, Deferred, 0),
    ("RCPT", stall, Deferred, 0),
    ("RCPT", reply("421 4.3.2 going down"), Unavailable, 0),
    ("RCPT", reply("450 4.2.0 greylisted"), Deferred, 0),
    ("RCPT", reply("550 5.1.1 no such user"), Refused, 0),
    ("RCPT", reply("554 5.7.1 <b@example.com>: Relay access denied"), Unavailable, 0),
    ("RCPT", reply("550 5.7.1 <a@example.com>: Sender address rejected: not owned by user"), Unavailable, 0),
    ("RCPT", reply("550-5.1.1 no such user\r\n550 5.1.1 see the manual"), Refused, 0),
    ("RCPT", reply("550 5.1.2 <relay@login.example>: Recipient address rejected: Domain not found"), Refused, 0),
    ("RCPT", reply("550 relay@login.example is unknown here"), Refused, 0),
    ("RCPT", refuse_and_hang_up("550 5.1.1 no such user"), Refused, 0),
    ("RCPT", refuse_and_hang_up("550 5.1.1 no such user\r\n421 4.3.2 bye"), Refused, 0),
    ("MAIL", refuse_and_hang_up("530 5.7.0 authentication required"), Unavailable, 0),
    ("RCPT", garbage, Deferred, 0),
    ("RCPT", drip(0.05), Deferred, 0),
    ("DATA", drop, Deferred, 0),
    ("DATA", stall, Deferred, 0),
    ("DATA", reply("421 4.3.2 going down"), Unavailable, 0),
    ("DATA", reply("451 4.3.0 later"), Deferred, 0),
    ("DATA", reply("554 5.6.0 never"), Refused, 0),
    ("DATA", reply("250 2.0.0 ok"), Deferred, 0),  # only a 354 asks for the message
    ("DATA", garbage, Deferred, 0),
    ("DOT", drop, Deferred, 0),
    ("DOT", stall, Deferred, 0),
    ("DOT", accept_then_drop, Deferred, 1),
    ("DOT", accept_then_stall, Deferred, 1),
    ("DOT", reply("421 4.3.2 going down"), Unavailable, 0),
    ("DOT", reply("451 4.3.0 later"), Deferred, 0),
    ("DOT", reply("554 5.6.0 spam"), Refused, 0),
    ("DOT", reply("554 5.7.1 relay access denied"), Unavailable, 0),
    ("DOT", reply("354 go on"), Deferred, 0),
    ("DOT", garbage, Deferred, 0),
    ("DOT", drip(0.002), SENT, 1),
    ("DOT", usual_then_drop, SENT, 1),
    ("QUIT", drop, SENT, 1),
    ("QUIT", stall, SENT, 1),
    ("QUIT", garbage, SENT, 1),
    ("QUIT", reply("500 5.0.0 no"), SENT, 1),
    ("QUIT", drip(0.05), SENT, 1),
]


@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelining", "one by one"])
@pytest.mark.parametrize(("stage", "behaviour", "outcome", "copies"), TABLE)
def test_each_misbehaviour_of_the_server_has_one_outcome(
    smtp: SmtpServer, transport: Transport, stage: str, behaviour: Any, outcome: Any, copies: int, *, pipelining: bool
) -> None:
    if not pipelining:
        smtp.extensions.remove("PIPELINING")
    smtp.on(stage, behaviour)
    begun = time.monotonic()
    if outcome is SENT:
        assert send(transport).code == 250
    else:
        with pytest.raises(outcome):
            send(transport)
    transport.close()
    assert len(smtp.accepted) == copies
    # Every wait has a limit; the one after the final dot is the longest.
    assert time.monotonic() - begun < (TIMEOUT * 12 if stage == "DOT" else TIMEOUT * 5 + 2)


def test_the_message_arrives_as_it_was_stored(smtp: SmtpServer, transport: Transport) -> None:
    send(transport)
    assert smtp.accepted[0].source == MAIL
    assert (smtp.accepted[0].sender, smtp.accepted[0].recipient) == ("a@example.com", "b@example.com")


def test_one_connection_serves_many_emails(smtp: SmtpServer, transport: Transport) -> None:
    for _ in range(5):
        send(transport)
    assert (smtp.connections, len(smtp.accepted)) == (1, 5)
    # A kept connection is checked by its socket, which needs no NOOP.
    assert not any(line.upper().startswith("NOOP") for line in smtp.commands)


def test_a_refusal_does_not_end_the_connection_and_the_next_recipient_is_alone(smtp: SmtpServer, transport: Transport) -> None:
    smtp.on("RCPT", reply("550 5.1.1 no such user"))
    with pytest.raises(Refused):
        send(transport, "gone@example.com")
    send(transport)
    assert [one.recipient for one in smtp.accepted] == ["b@example.com"]
    assert smtp.connections == 1


def test_a_server_that_asks_for_data_without_a_recipient_gets_no_empty_email(smtp: SmtpServer, transport: Transport) -> None:
    def refuse_but_keep(session: Any, usual: str) -> None:
        session.say_unasked("550 5.1.1 no such user")  # the server still thinks that there is a recipient

    smtp.on("RCPT", refuse_but_keep)
    with pytest.raises(Refused):
        send(transport, "gone@example.com")
    send(transport)
    assert [one.recipient for one in smtp.accepted] == ["b@example.com"]
    assert smtp.connections == 2


@pytest.mark.parametrize(("stage", "farewell"), [("MAIL", drop), ("DOT", usual_then_drop)])
def test_a_dead_kept_connection_is_replaced(smtp: SmtpServer, transport: Transport, stage: str, farewell: Any) -> None:
    send(transport)
    smtp.on(stage, farewell)
    for _ in range(3):
        send(transport)
    assert len(smtp.accepted) == 4
    assert smtp.connections == 2


def test_an_idle_421_is_noticed_before_the_connection_is_reused(smtp: SmtpServer, transport: Transport) -> None:
    def accept_and_say_goodbye(session: Any, usual: str) -> None:
        session.say(usual)
        session.say_unasked("421 4.4.2 idle for too long")

    smtp.on("DOT", accept_and_say_goodbye)
    send(transport)
    time.sleep(0.05)
    send(transport)
    assert (smtp.connections, len(smtp.accepted)) == (2, 2)


@pytest.mark.parametrize("worn", ["421 4.7.0 too many", "452 4.5.3 too many messages on this connection"])
def test_a_server_that_asks_for_a_new_connection_gets_one(smtp: SmtpServer, transport: Transport, worn: str) -> None:
    send(transport)
    smtp.on("MAIL", reply(worn))
    send(transport)
    assert (smtp.connections, len(smtp.accepted)) == (2, 2)


def test_an_unasked_reply_is_not_taken_for_the_next_one(smtp: SmtpServer, transport: Transport) -> None:
    def accept_and_chatter(session: Any, usual: str) -> None:
        session.say(usual)
        session.say_unasked("250 by the way")

    smtp.on("DOT", accept_and_chatter)
    send(transport)
    time.sleep(0.05)
    smtp.on("RCPT", reply("550 5.1.1 no such user"))
    with pytest.raises(Refused):
        send(transport)
    assert (smtp.connections, len(smtp.accepted)) == (2, 1)


def test_a_250_before_the_message_is_not_its_acceptance(smtp: SmtpServer, transport: Transport) -> None:
    smtp.on("DATA", reply("354 go on\r\n250 2.0.0 accepted already"))
    with pytest.raises(Deferred):
        send(transport)
    assert not smtp.accepted


def test_four_refusals_in_a_row_lead_to_a_new_connection(smtp: SmtpServer, transport: Transport) -> None:
    smtp.on("RCPT", reply("550 5.1.1 no such user"), always=True)
    for _ in range(8):
        with pytest.raises(Refused):
            send(transport)
    assert smtp.connections == 2


def test_mail_max_emails_limits_a_connection(smtp: SmtpServer) -> None:
    transport = Transport(Server("127.0.0.1", smtp.port, timeout=TIMEOUT, max_emails=2))
    for _ in range(5):
        send(transport)
    transport.close()
    assert smtp.connections == 3


def test_a_message_larger_than_size_is_refused_before_it_is_sent(smtp: SmtpServer, transport: Transport) -> None:
    smtp.extensions[:] = ["SIZE 20"]
    with pytest.raises(Refused, match="20 at most"):
        send(transport)
    assert not any(line.startswith("MAIL") for line in smtp.commands)


def test_a_local_part_beyond_ascii_needs_smtputf8(smtp: SmtpServer, transport: Transport) -> None:
    send(transport, "zoë@example.com")
    assert "MAIL FROM:<a@example.com> SIZE=58 SMTPUTF8" in smtp.commands
    transport.close()
    smtp.extensions.remove("SMTPUTF8")
    with pytest.raises(Refused, match="SMTPUTF8"):
        send(transport, "zoë@example.com")


def test_a_header_beyond_ascii_needs_smtputf8_for_every_recipient(smtp: SmtpServer, transport: Transport) -> None:
    source = "To: zoë@example.com, b@example.com\r\n\r\nbody\r\n".encode()
    transport.transmit(Envelope("a@example.com", "b@example.com", source))
    assert f"MAIL FROM:<a@example.com> SIZE={len(source)} SMTPUTF8" in smtp.commands
    transport.close()
    smtp.extensions.remove("SMTPUTF8")
    with pytest.raises(Refused, match="SMTPUTF8"):
        transport.transmit(Envelope("a@example.com", "b@example.com", source))


@pytest.mark.parametrize(("stage", "used"), [("CONNECT", False), ("RCPT", False), ("RCPT", True), ("DOT", False), ("DOT", True)])
def test_cut_ends_a_wait_at_once_and_allows_no_new_connection(smtp: SmtpServer, stage: str, used: bool) -> None:
    transport = Transport(Server("127.0.0.1", smtp.port, timeout=30))
    if used:
        send(transport)
    smtp.on(stage, stall)
    timer = threading.Timer(0.2, transport.cut)
    timer.start()
    begun = time.monotonic()
    with pytest.raises((Deferred, Unavailable)):
        send(transport)
    assert time.monotonic() - begun < 2
    assert len(smtp.accepted) == used
    timer.join()
    transport.close()


@pytest.mark.parametrize(
    "behaviour", [drop, stall, garbage, drip(0.05), reply("421 4.3.2 bye"), reply("451 4.3.0 later"), reply("500 5.5.1 what?")]
)
def test_a_failed_rset_leads_to_a_new_connection(smtp: SmtpServer, transport: Transport, behaviour: Any) -> None:
    smtp.on("RCPT", reply("550 5.1.1 no such user"))
    with pytest.raises(Refused):
        send(transport, "gone@example.com")
    smtp.on("RSET", behaviour)
    send(transport)
    assert [one.recipient for one in smtp.accepted] == ["b@example.com"]
    assert smtp.connections == 2
