"""What other servers do that the scripted one does not by itself, and what is learned of it: nothing lost, nothing twice."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

import pytest

from flask_outbox.errors import Deferred, Refused, TransmissionError, Unavailable
from flask_outbox.smtp.envelope import Envelope
from flask_outbox.smtp.habits import Way
from flask_outbox.smtp.server import Server
from flask_outbox.smtp.transport import Transport
from flask_outbox.store.lease import LeaseLost
from flask_outbox.testing import Drop, SmtpServer, SmtpSession, drop, refuse_pipelined, reply, usual_then_drop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask_outbox.testing.answers import Answer

TIMEOUT = 0.5


def emails(count: int, source: bytes = b"Subject: hi\r\n\r\ntext\r\n") -> list[Envelope]:
    return [Envelope("a@example.com", f"{number}@example.com", source) for number in range(count)]


def drain(transport: Transport, envelopes: list[Envelope]) -> None:
    for email, following in itertools.pairwise([*envelopes, None]):
        assert email is not None
        assert transport.transmit(email, following).code == 250


def arrived(smtp: SmtpServer) -> list[str]:
    return [one.recipient.partition("@")[0] for one in smtp.accepted]


@pytest.fixture
def server(smtp: SmtpServer) -> Server:
    return Server("127.0.0.1", smtp.port, timeout=TIMEOUT)


@pytest.fixture
def transport(server: Server) -> Iterator[Transport]:
    one = Transport(server)
    yield one
    one.close()


# Haraka


def test_haraka_s_503_behind_the_final_dot_costs_no_email_and_is_remembered_for_the_server(
    smtp: SmtpServer, server: Server, transport: Transport
) -> None:
    refused: list[int] = []

    def like_haraka(session: SmtpSession, usual: str) -> None:
        refuse_pipelined(session, usual)
        refused.append(len(smtp.commands))

    smtp.on("DOT", like_haraka, always=True)
    drain(transport, emails(5))
    assert arrived(smtp) == list("01234")
    assert smtp.connections == 1
    # Once it was refused and asked for again. From then on nothing goes out behind a message, also over other connections.
    assert smtp.commands.count("RSET") == 1
    assert server.habits.way is Way.GROUP
    other = Transport(server)
    drain(other, emails(3))
    other.close()
    assert arrived(smtp) == list("01234012")
    assert smtp.commands.count("RSET") == 1


@pytest.mark.parametrize("cut", [b"MAIL", b"RCPT", b"DATA", b"A\r\n"])
def test_an_envelope_that_is_dropped_in_the_middle_of_a_line_is_sent_again(smtp: SmtpServer, server: Server, cut: bytes) -> None:
    """Haraka drops what has arrived with the dot, and reads the rest of the line as a command."""

    def drop_a_part(session: SmtpSession, usual: str) -> None:
        session.say(usual)
        head, found, tail = session._buffer.partition(cut)
        if found:
            for _ in range(head.count(b"\n")):
                session.say_unasked("503 Bad sequence of commands - pipelined after end of DATA")
            session._buffer = cut[1:] + tail

    smtp.on("DOT", drop_a_part)
    transport = Transport(server)
    drain(transport, emails(3))
    transport.close()
    assert arrived(smtp) == list("012")


@pytest.mark.parametrize("behaviour", [drop, reply("421 4.7.0 you send too early")])
def test_a_server_that_hangs_up_over_a_pipelined_envelope_gets_none_after_the_second_time(
    smtp: SmtpServer, server: Server, transport: Transport, behaviour: Answer
) -> None:
    """It looks like a server that is restarted, so once is not enough."""

    def hang_up(session: SmtpSession, usual: str) -> None:
        if session.take_waiting():
            session.say(usual)
            behaviour(session, usual)
            raise Drop
        session.say(usual)

    smtp.on("DOT", hang_up, always=True)
    drain(transport, emails(8))
    assert arrived(smtp) == list("01234567")
    assert (server.habits.way, smtp.connections) == (Way.GROUP, 3)


def test_a_restart_of_the_server_teaches_nothing(smtp: SmtpServer, server: Server, transport: Transport) -> None:
    for _ in range(3):
        smtp.on("MAIL", *[lambda session, usual: session.say(usual)] * 2, drop)
        drain(transport, emails(4))
    assert (server.habits.way, len(smtp.accepted)) == (Way.BEHIND, 12)


def test_a_server_that_offers_pipelining_and_does_not_bear_it_at_all(
    smtp: SmtpServer, server: Server, transport: Transport
) -> None:
    smtp.on("MAIL", refuse_pipelined, always=True)
    drain(transport, emails(4))
    assert arrived(smtp) == list("0123")
    assert (server.habits.way, smtp.connections) == (Way.SINGLE, 1)


def test_a_503_that_means_something_else_teaches_nothing(smtp: SmtpServer, server: Server, transport: Transport) -> None:
    smtp.on("MAIL", reply("503 5.5.1 authenticate first"), always=True)
    for _ in range(2):
        with pytest.raises(Unavailable) as caught:
            transport.transmit(*emails(2))
        assert caught.value.ours
    assert server.habits.way is Way.BEHIND


# Servers without PIPELINING: the next MAIL is written before the caller records the acceptance


@pytest.fixture
def plain(smtp: SmtpServer) -> SmtpServer:
    smtp.extensions.remove("PIPELINING")
    return smtp


def test_without_pipelining_the_server_works_on_the_next_email_already(plain: SmtpServer, transport: Transport) -> None:
    first, second = emails(2)
    transport.transmit(first, second)
    end = time.monotonic() + 5
    while plain.commands[-1] == "DATA" and time.monotonic() < end:
        time.sleep(0.01)
    assert plain.commands[-1].startswith("MAIL FROM")
    transport.transmit(second)
    assert (arrived(plain), plain.connections) == (["0", "1"], 1)


@pytest.mark.parametrize(
    "farewell", [usual_then_drop, reply("250 2.0.0 ok\r\n421 4.4.2 bye"), reply("250 2.0.0 ok\r\n250 2.0.0 ok")]
)
def test_an_acceptance_counts_although_the_next_command_fails(plain: SmtpServer, transport: Transport, farewell: Answer) -> None:
    plain.on("DOT", farewell)
    first, second = emails(2)
    assert transport.transmit(first, second).code == 250
    time.sleep(0.05)
    assert transport.transmit(second).code == 250
    assert arrived(plain) == ["0", "1"]


def test_an_acceptance_counts_although_the_lease_is_lost_meanwhile(plain: SmtpServer, transport: Transport) -> None:
    def guard() -> None:
        # Not before: until the reply is read, nobody knows of the acceptance.
        conversation = transport._conversation
        if conversation is not None and conversation.transmitted:
            raise LeaseLost

    first, second = emails(2)
    assert transport.transmit(first, second, guard=guard).code == 250


@pytest.mark.parametrize(
    ("said", "outcome"), [("450 4.2.0 later", Deferred), ("550 5.1.1 no such user", Refused), ("530 5.7.0 log in", Unavailable)]
)
def test_without_pipelining_each_refusal_meets_its_own_email(
    plain: SmtpServer, transport: Transport, said: str, outcome: type[TransmissionError]
) -> None:
    first, second, third = emails(3)
    transport.transmit(first, second)
    plain.on("RCPT", reply(said))
    with pytest.raises(outcome):
        transport.transmit(second, third)
    drain(transport, [third, first])
    assert (arrived(plain), plain.connections) == (["0", "2", "0"], 1)


# Limits per connection


def test_exim_gets_a_new_connection_after_ten_emails(smtp: SmtpServer, server: Server, transport: Transport) -> None:
    smtp.on("CONNECT", reply("220 mx.example.com ESMTP Exim 4.96 Sat, 01 Aug 2026 10:00:00 +0000"), always=True)
    drain(transport, emails(25))
    assert (smtp.connections, len(smtp.accepted), smtp.commands.count("QUIT")) == (3, 25, 2)
    chosen = Transport(Server("127.0.0.1", smtp.port, timeout=TIMEOUT, max_emails=20))
    drain(chosen, emails(25))
    chosen.close()
    assert smtp.connections == 5


@pytest.mark.parametrize("greeting", ["220 eximious.example.com ESMTP Postfix", "220 Exim"])
def test_other_greetings_limit_nothing(smtp: SmtpServer, server: Server, transport: Transport, greeting: str) -> None:
    smtp.on("CONNECT", reply(greeting))
    drain(transport, emails(12))
    assert smtp.connections == 1


LIMITS = [
    "452 4.5.3 too many recipients",
    "452 Too many messages in this session",
    "451 4.7.1 too many mails on the same connection, reconnect",
    "421 Max message per connection reached, closing transmission channel",
    "554 5.7.0 transaction limit for this session exceeded",
]


@pytest.mark.parametrize("said", LIMITS)
@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA", "DOT"])
def test_a_limit_per_connection_means_a_new_connection(smtp: SmtpServer, transport: Transport, stage: str, said: str) -> None:
    drain(transport, emails(1))
    smtp.on(stage, reply(said))
    drain(transport, emails(1))
    assert (smtp.connections, len(smtp.accepted)) == (2, 2)


@pytest.mark.parametrize("said", LIMITS)
def test_a_limit_per_connection_on_a_new_connection_is_an_answer(smtp: SmtpServer, transport: Transport, said: str) -> None:
    smtp.on("RCPT", reply(said), always=True)
    with pytest.raises(TransmissionError):
        transport.transmit(*emails(1))
    assert smtp.connections == 1


# Greetings


def test_a_greeting_in_several_slow_lines(smtp: SmtpServer, transport: Transport) -> None:
    """As Postfix's postscreen greets: a teaser, a pause that unmasks whoever speaks too early, and the last line."""

    def greet(session: SmtpSession, usual: str) -> None:
        session.say_unasked("220-mx.example.com ESMTP")
        session.wait(0.2)
        session.sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            session.sock.recv(1)
        session.sock.setblocking(True)
        session.say(usual)

    smtp.on("CONNECT", greet)
    drain(transport, emails(2))
    assert len(smtp.accepted) == 2


def test_small_replies_of_a_server_that_waits_for_acknowledgements_cost_no_delay(smtp: SmtpServer, server: Server) -> None:
    """Haraka and others leave Nagle's algorithm on: their second small reply waits for our acknowledgement, 40 ms by default."""
    import socket

    def with_nagle(session: Any, usual: str) -> None:
        session.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
        session.say(usual)

    smtp.on("CONNECT", with_nagle)
    server.habits.way = Way.GROUP
    transport = Transport(server)
    begun = time.monotonic()
    drain(transport, emails(100))
    transport.close()
    # 100 times 40 ms are 4 s.
    assert time.monotonic() - begun < 2
