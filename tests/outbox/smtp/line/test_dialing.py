"""Several addresses, some of which are dead, and waits that take long: each of them looks at the lease."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import pytest

from flask_outbox.errors import Unavailable
from flask_outbox.smtp.envelope import Envelope
from flask_outbox.smtp.line import connection, dialing
from flask_outbox.smtp.server import Server
from flask_outbox.smtp.transport import Transport
from flask_outbox.store.lease import LeaseLost
from flask_outbox.testing import Drop, SmtpServer, SmtpSession, stall

if TYPE_CHECKING:
    from collections.abc import Iterator

MAIL = Envelope("a@example.com", "b@example.com", b"Subject: hi\r\n\r\ntext\r\n")


@pytest.fixture
def dead() -> Iterator[tuple[str, int]]:
    """An address that never answers: a port whose queue of waiting connections is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        waiting = []
        for _ in range(3):
            one = socket.socket()
            one.settimeout(0)
            with suppress(BlockingIOError):
                one.connect(address)
            waiting.append(one)
        time.sleep(0.05)
        yield address
        for one in waiting:
            one.close()


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that sets the addresses of the host, in the resolver's order."""

    def addresses(*found: tuple[str, int]) -> None:
        entries = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in found]
        monkeypatch.setattr(dialing.socket, "getaddrinfo", lambda *_, **__: entries)

    return addresses


def test_a_dead_first_address_costs_a_moment_once(smtp: SmtpServer, dead: tuple[str, int], resolve: Any) -> None:
    resolve(dead, (smtp.host, smtp.port))
    server = Server("mail.example.com", 25, timeout=20)
    waits = []
    for _ in range(3):
        transport, begun = Transport(server), time.monotonic()
        transport.transmit(MAIL)
        waits.append(time.monotonic() - begun)
        transport.close()
    assert len(smtp.accepted) == 3
    assert waits[0] < 5
    # Known to all connections of this process.
    assert max(waits[1:]) < dialing.STAGGER


def test_where_no_address_answers_all_get_a_new_chance(smtp: SmtpServer, dead: tuple[str, int], resolve: Any) -> None:
    server = Server("mail.example.com", 25, timeout=0.5)
    resolve(dead, (smtp.host, smtp.port))
    with closing(Transport(server)) as transport:
        transport.connect()
    assert server.habits.silent == {dead}
    resolve(dead)
    with pytest.raises(Unavailable, match="timed out"):
        Transport(server).connect()
    assert server.habits.silent == set()


def test_a_refused_address_is_passed_over_at_once(smtp: SmtpServer, resolve: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = listener.getsockname()
    resolve(closed, closed, closed, closed, (smtp.host, smtp.port))
    begun = time.monotonic()
    with closing(Transport(Server("mail.example.com", 25, timeout=20))) as transport:
        transport.connect()
    assert time.monotonic() - begun < 2 * dialing.STAGGER


def lose_after(calls: int) -> Any:
    """Return a guard that finds the lease lost after so many calls."""
    left = iter(range(calls))

    def guard() -> None:
        if next(left, None) is None:
            raise LeaseLost

    return guard


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (connection, dialing):
        monkeypatch.setattr(module, "GUARD_EVERY", 0.02)


@pytest.mark.usefixtures("often")
def test_waiting_for_a_connection_looks_at_the_lease(dead: tuple[str, int], resolve: Any) -> None:
    resolve(dead)
    with pytest.raises(LeaseLost):
        Transport(Server("mail.example.com", 25, timeout=60)).transmit(MAIL, guard=lose_after(5))


@pytest.mark.usefixtures("often")
def test_a_handshake_that_never_ends_looks_at_the_lease(smtp: SmtpServer) -> None:
    smtp.on("CONNECT", stall)
    with pytest.raises(LeaseLost):
        Transport(Server("127.0.0.1", smtp.port, timeout=60, use_ssl=True)).transmit(MAIL, guard=lose_after(5))


def test_a_handshake_has_one_deadline(smtp: SmtpServer) -> None:
    """However the server spreads its bytes: each read alone would have been in time."""

    def begin_tls_slowly(session: SmtpSession, usual: str) -> None:
        session.say("220 2.0.0 go ahead")
        session.sock.recv(1000)
        # The head of a TLS record of 1,000 bytes, and then byte by byte.
        for byte in b"\x16\x03\x03\x03\xe8" + bytes(1000):
            session.sock.sendall(bytes([byte]))
            if session.wait(0.1):
                break
        raise Drop

    smtp.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    smtp.on("STARTTLS", begin_tls_slowly)
    with pytest.raises(Unavailable, match="TLS handshake"):
        Transport(Server("127.0.0.1", smtp.port, timeout=0.4, use_tls=True)).connect()


@pytest.mark.usefixtures("often")
def test_a_long_write_looks_at_the_lease_and_sends_no_message_without_it(smtp: SmtpServer) -> None:
    """The server stops reading in the middle of a message, and goes on when another worker has the email."""
    lost = threading.Event()

    def go_on_later(session: SmtpSession, usual: str) -> None:
        session.say(usual)
        lost.wait(10)

    def guard() -> None:
        if time.monotonic() > end:
            lost.set()
            raise LeaseLost

    smtp.extensions.remove("SIZE 10485760")
    smtp.on("DATA", go_on_later)
    large = MAIL._replace(source=MAIL.source + b"x" * 70 * 1024 * 1024 + b"\r\n")
    transport = Transport(Server("127.0.0.1", smtp.port, timeout=60))
    end = time.monotonic() + 1
    with pytest.raises(LeaseLost):
        transport.transmit(large, guard=guard)
    assert time.monotonic() - end < 5
    transport.transmit(MAIL)
    transport.close()
    assert [one.source for one in smtp.accepted] == [MAIL.source]


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("stage", ["CONNECT", "EHLO"])
def test_a_connection_whose_opening_was_interrupted_is_not_used(smtp: SmtpServer, stage: str) -> None:
    with closing(Transport(Server("127.0.0.1", smtp.port, timeout=30))) as transport:
        transport.transmit(MAIL)
        transport.close()
        smtp.on(stage, stall)
        with pytest.raises(LeaseLost):
            transport.transmit(MAIL, guard=lose_after(5))
        begun = time.monotonic()
        transport.transmit(MAIL)
    assert len(smtp.accepted) == 2
    # It would have answered nothing for MAIL_TIMEOUT.
    assert time.monotonic() - begun < 15
