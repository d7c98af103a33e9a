"""The envelope that goes out behind a message: it saves a round trip, and must never lose or copy an email."""

from __future__ import annotations

import itertools
import socket
from typing import TYPE_CHECKING, Any

import pytest

from flask_outbox.errors import Deferred, Refused, Unavailable
from flask_outbox.smtp.envelope import Envelope
from flask_outbox.smtp.line.conversation import Conversation
from flask_outbox.smtp.server import Server
from flask_outbox.smtp.staging import Staging
from flask_outbox.smtp.transport import Transport
from flask_outbox.store.lease import LeaseLost
from flask_outbox.testing import SmtpServer, SmtpSession, accept_then_drop, drop, garbage, reply, slow, stall, usual_then_drop
from tests.e2e.postfix import Postfix, why_not
from tests.servers import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT = 0.2
A, B, C = (Envelope("a@example.com", f"{name}@example.com", b"Subject: hi\r\n\r\ntext\r\n") for name in "abc")


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What is written to the server, write by write."""
    written: list[bytes] = []
    send = Conversation.send

    def note(self: Conversation, data: str | bytes) -> None:
        written.append(data if isinstance(data, bytes) else data.encode())
        send(self, data)

    monkeypatch.setattr(Conversation, "send", note)
    return written


@pytest.fixture
def transport(smtp: SmtpServer) -> Iterator[Transport]:
    one = Transport(Server("127.0.0.1", smtp.port, timeout=TIMEOUT))
    yield one
    one.close()


def arrived(smtp: SmtpServer) -> list[str]:
    return [one.recipient[0] for one in smtp.accepted]


def test_an_email_costs_one_write_and_one_round_trip(smtp: SmtpServer, transport: Transport, writes: list[bytes]) -> None:
    transport.transmit(A, B)
    del writes[:]
    transport.transmit(B, C)
    transport.transmit(C)
    assert arrived(smtp) == ["a", "b", "c"]
    assert [one.count(b"\r\n.\r\n") for one in writes] == [1, 1]
    assert [one.endswith(b"\r\nDATA\r\n") for one in writes] == [True, False]
    assert [one.source for one in smtp.accepted] == [A.source, B.source, C.source]
    assert smtp.connections == 1


def test_a_server_that_does_not_announce_pipelining_never_sees_it(
    smtp: SmtpServer, transport: Transport, writes: list[bytes]
) -> None:
    smtp.extensions.remove("PIPELINING")
    for email, following in ((A, B), (B, C), (C, None)):
        transport.transmit(email, following)
    assert arrived(smtp) == ["a", "b", "c"]
    assert all(one.count(b"\r\n") == 1 or one.endswith(b"\r\n.\r\n") for one in writes)


# What the server does to the second envelope, which is on the wire already: the error for that email, how many copies the
# server accepts, and how many connections it takes.
OUTCOMES = [
    ("MAIL", reply("451 4.3.0 later"), Deferred, 0, 1),
    ("MAIL", reply("530 5.7.0 log in"), Unavailable, 0, 1),
    ("MAIL", reply("421 4.7.0 enough"), None, 1, 2),
    ("MAIL", reply("452 4.5.3 too many messages on this connection"), None, 1, 2),
    ("MAIL", drop, None, 1, 2),
    ("MAIL", stall, None, 1, 2),
    ("MAIL", garbage, None, 1, 2),
    ("RCPT", reply("550 5.1.1 no such user"), Refused, 0, 1),
    ("RCPT", reply("450 4.2.0 greylisted"), Deferred, 0, 1),
    ("RCPT", drop, None, 1, 2),
    ("DATA", reply("451 4.3.0 later"), Deferred, 0, 1),
    ("DATA", reply("250 2.0.0 ok"), Deferred, 0, 1),
    ("DATA", usual_then_drop, Deferred, 0, 1),
    ("DATA", reply("354 go on\r\n250 2.0.0 accepted already"), None, 1, 2),
    ("DOT", accept_then_drop, Deferred, 1, 1),
    ("DOT", reply("554 5.6.0 spam"), Refused, 0, 1),
]


@pytest.mark.parametrize(("stage", "behaviour", "outcome", "copies", "connections"), OUTCOMES)
def test_each_misbehaviour_towards_an_announced_envelope_has_one_outcome(
    smtp: SmtpServer, transport: Transport, stage: str, behaviour: Any, outcome: Any, copies: int, connections: int
) -> None:
    # The usual for the first email, then the misbehaviour for the second.
    smtp.on(stage, lambda session, usual: session.say(usual), behaviour)
    transport.transmit(A, B)
    if outcome is None:
        assert transport.transmit(B, C).code == 250
    else:
        with pytest.raises(outcome):
            transport.transmit(B, C)
    assert arrived(smtp) == ["a"] + ["b"] * copies
    assert smtp.connections == connections
    smtp.reset()
    assert transport.transmit(C).code == 250
    assert arrived(smtp) == ["a"] + ["b"] * copies + ["c"]


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [
        (reply("554 5.6.0 spam"), Refused),
        (reply("451 4.3.0 later"), Deferred),
        (reply("421 4.3.2 going down"), Unavailable),
        (drop, Deferred),
        (accept_then_drop, Deferred),
    ],
)
def test_a_refused_message_closes_the_connection_of_the_envelope_behind_it(
    smtp: SmtpServer, transport: Transport, behaviour: Any, outcome: Any
) -> None:
    smtp.on("DOT", behaviour)
    # The replies to the envelope come too late to be seen before the next email.
    smtp.on("MAIL", slow(0), slow(0.05))
    with pytest.raises(outcome):
        transport.transmit(A, B)
    assert transport.transmit(B).code == 250
    assert arrived(smtp)[-1] == "b"
    assert smtp.connections == 2


def test_a_server_that_reads_the_rest_of_a_message_as_commands_accepts_nothing(smtp: SmtpServer, transport: Transport) -> None:
    """Some give up on a message at once and read the rest of it as commands: their complaints are not the next one's answers."""

    def give_up(session: SmtpSession, usual: str) -> None:
        session.say("552 5.3.4 too much")
        for _ in range(4):
            session.say("500 5.5.2 what?")

    smtp.on("DOT", give_up)
    with pytest.raises(Refused, match="too much"):
        transport.transmit(A, B)
    assert transport.transmit(B).code == 250
    assert arrived(smtp) == ["b"]


def test_an_extra_reply_does_not_shift_the_following_ones(smtp: SmtpServer, transport: Transport) -> None:
    def accept_twice(session: SmtpSession, usual: str) -> None:
        session.say(usual)
        session.say_unasked("250 2.0.0 accepted")

    smtp.on("DOT", accept_twice)
    smtp.on("DATA", slow(0), slow(0.05))
    transport.transmit(A, B)
    with pytest.raises(Deferred):
        transport.transmit(B, C)
    assert transport.transmit(C).code == 250
    assert arrived(smtp) == ["a", "c"]


def test_an_email_other_than_the_announced_one_gets_a_new_connection(smtp: SmtpServer, transport: Transport) -> None:
    transport.transmit(A, B)
    transport.transmit(C)
    assert arrived(smtp) == ["a", "c"]
    assert smtp.connections == 2


def test_closing_with_an_envelope_announced_sends_no_empty_email(smtp: SmtpServer, transport: Transport) -> None:
    transport.transmit(A, B)
    transport.close()
    wait_until(lambda: smtp.abandoned)
    assert smtp.abandoned == [b""]
    assert arrived(smtp) == ["a"]


@pytest.mark.parametrize(
    "following", [Envelope("a@example.com", "b@example.com", b"x" * 2000), Envelope("a@example.com", "zoë@example.com", b"x\r\n")]
)
def test_an_email_that_the_server_cannot_take_is_not_announced(smtp: SmtpServer, transport: Transport, following: Envelope) -> None:
    smtp.extensions[:] = ["PIPELINING", "SIZE 1000"]
    transport.transmit(A, following)
    with pytest.raises(Refused):
        transport.transmit(following)
    transport.transmit(C)
    assert arrived(smtp) == ["a", "c"]
    assert smtp.connections == 1


def test_the_last_email_of_a_connection_announces_none(smtp: SmtpServer) -> None:
    transport = Transport(Server("127.0.0.1", smtp.port, timeout=TIMEOUT, max_emails=2))
    for email, following in ((A, B), (B, C), (C, None)):
        transport.transmit(email, following)
    transport.close()
    assert arrived(smtp) == ["a", "b", "c"]
    assert (smtp.connections, smtp.commands.count("QUIT")) == (2, 2)


def test_an_announced_email_is_redirected_like_any_other(smtp: SmtpServer) -> None:
    transport = Transport(Server("127.0.0.1", smtp.port, timeout=TIMEOUT, staging=Staging(("a@example.com",), "c@example.com")))
    transport.transmit(A, B)
    transport.transmit(B)
    transport.close()
    assert arrived(smtp) == ["a", "c"]
    assert smtp.connections == 1


def test_a_lost_lease_keeps_the_announced_message_back(smtp: SmtpServer, transport: Transport) -> None:
    transport.transmit(A, B)

    def lost() -> None:
        raise LeaseLost

    with pytest.raises(LeaseLost):
        transport.transmit(B, guard=lost)
    assert transport.transmit(C).code == 250
    assert arrived(smtp) == ["a", "c"]


@pytest.mark.parametrize("pieces", [1, 3, 7])
def test_replies_may_come_in_any_pieces(smtp: SmtpServer, transport: Transport, pieces: int) -> None:
    def in_pieces(session: SmtpSession, usual: str) -> None:
        session.note(usual)
        data = (usual + "\r\n").encode()
        session.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(data), pieces):
            session.sock.sendall(data[start : start + pieces])

    for stage in ("MAIL", "RCPT", "DATA", "DOT"):
        smtp.on(stage, in_pieces, always=True)
    emails: list[Envelope | None] = [A, B, C, None]
    for email, following in itertools.pairwise(emails):
        assert email is not None
        transport.transmit(email, following)
    assert arrived(smtp) == ["a", "b", "c"]


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_a_real_postfix_accepts_pipelined_emails_and_refuses_a_relay() -> None:
    gone, later = (Envelope("a@example.com", f"x@{domain}", A.source) for domain in ("elsewhere.example", "example.com"))
    emails: list[Envelope | None] = [A, B, gone, C, later, None]
    with Postfix() as postfix:
        transport = Transport(Server("127.0.0.1", postfix.port, timeout=10))
        for email, following in itertools.pairwise(emails):
            assert email is not None
            if email is gone:
                with pytest.raises(Unavailable, match="Relay access denied"):
                    transport.transmit(email, following)
            else:
                transport.transmit(email, following)
        transport.close()
        received = postfix.wait_for(4)
        assert len(received) == 4
        assert postfix.log.count(": disconnect from localhost") == 1
