"""Connecting, TLS and the login: nothing is sent, least of all a password, over a connection that cannot be trusted."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from flask_outbox import MailSettings
from flask_outbox.errors import Unavailable
from flask_outbox.factories import make_server
from flask_outbox.smtp.envelope import Envelope
from flask_outbox.smtp.server import Server
from flask_outbox.smtp.transport import Transport
from flask_outbox.testing import Drop, SmtpServer, SmtpSession, drip, drop, garbage, reply, stall

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAIL = b"Subject: hi\r\n\r\ntext\r\n"
TIMEOUT = 0.2


def send(transport: Transport, recipient: str = "b@example.com") -> Any:
    return transport.transmit(Envelope("a@example.com", recipient, MAIL))


def test_the_greeting_is_cleaned(smtp: SmtpServer) -> None:
    smtp.on("CONNECT", reply("554 \x1b[31m\0" + "x" * 3000))
    with pytest.raises(Unavailable) as caught:
        send(Transport(Server("127.0.0.1", smtp.port, timeout=TIMEOUT)))
    assert caught.value.reply.isprintable()
    assert len(caught.value.reply) <= 1000


def test_a_closed_port_is_unavailable() -> None:
    with SmtpServer() as server:
        port = server.port
    with pytest.raises(Unavailable, match="refused"):
        send(Transport(Server("127.0.0.1", port, timeout=TIMEOUT)))


@pytest.fixture
def secure(smtp: SmtpServer, authority: trustme.CA, tmp_path: Path) -> Callable[..., Transport]:
    """A function that gives the server a certificate and returns a transport that trusts its authority."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    def make(name: str = "localhost", *, trusted: bool = True, **options: Any) -> Transport:
        smtp.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(smtp.tls)
        smtp.implicit_tls = options.get("use_ssl", False)
        options.setdefault("use_tls", not smtp.implicit_tls)
        return Transport(
            Server("localhost", smtp.port, timeout=0.5, ca_file=str(tmp_path / "ca.pem") if trusted else None, **options)
        )

    return make


@pytest.mark.parametrize("options", [{}, {"use_ssl": True}], ids=["STARTTLS", "implicit"])
def test_tls_with_a_private_authority(smtp: SmtpServer, secure: Callable[..., Transport], options: dict[str, Any]) -> None:
    transport = secure(**options)
    send(transport)
    send(transport)
    transport.close()
    assert (len(smtp.accepted), smtp.connections) == (2, 1)


@pytest.mark.parametrize("options", [{}, {"use_ssl": True}], ids=["STARTTLS", "implicit"])
@pytest.mark.parametrize("wrong", [{"trusted": False}, {"name": "elsewhere.example"}], ids=["unknown authority", "wrong name"])
def test_an_untrusted_certificate_is_unavailable_and_gets_no_password(
    smtp: SmtpServer, secure: Callable[..., Transport], options: dict[str, Any], wrong: dict[str, Any]
) -> None:
    smtp.password = ("me", "secret")
    transport = secure(username="me", password="secret", **options, **wrong)
    with pytest.raises(Unavailable) as caught:
        send(transport)
    assert caught.value.ours
    assert not any(line.startswith("AUTH") for line in smtp.commands)
    assert not smtp.accepted


def test_nothing_is_sent_where_starttls_is_not_offered(smtp: SmtpServer) -> None:
    with pytest.raises(Unavailable, match="STARTTLS"):
        send(Transport(Server("127.0.0.1", smtp.port, timeout=TIMEOUT, use_tls=True)))
    assert not any(line.startswith("MAIL") for line in smtp.commands)


@pytest.mark.parametrize(
    "behaviour",
    [drop, stall, garbage, drip(0.05), reply("454 4.7.0 no"), reply("501 5.5.4 no"), reply("220 2.0.0 go\r\n250 planted")],
)
def test_nothing_is_sent_after_a_failed_starttls(smtp: SmtpServer, secure: Callable[..., Transport], behaviour: Any) -> None:
    transport = secure()
    smtp.on("STARTTLS", behaviour)
    with pytest.raises(Unavailable):
        send(transport)
    assert not any(line.startswith("MAIL") for line in smtp.commands)


def test_a_password_logs_in(smtp: SmtpServer, secure: Callable[..., Transport]) -> None:
    smtp.password = ("me", "secret")
    transport = secure(username="me", password="secret")
    send(transport)
    transport.close()
    assert len(smtp.accepted) == 1


@pytest.mark.parametrize(
    ("behaviour", "ours"),
    [
        (None, True),
        (drop, False),
        (stall, False),
        (garbage, False),
        (reply("454 4.7.0 later"), False),
        (reply("421 4.7.0 bye"), False),
    ],
)
def test_a_failed_login_is_unavailable(smtp: SmtpServer, secure: Callable[..., Transport], behaviour: Any, ours: bool) -> None:
    smtp.password = ("me", "secret")
    if behaviour is not None:
        smtp.on("AUTH", behaviour, behaviour)
    transport = secure(username="me", password="wrong")
    with pytest.raises(Unavailable) as caught:
        send(transport)
    assert caught.value.ours is ours
    assert not any(line.startswith("MAIL") for line in smtp.commands)
    assert "wrong" not in str(caught.value)


def test_a_password_is_not_sent_over_a_remote_connection_without_tls(smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    smtp.password = ("me", "secret")
    transport = Transport(Server("127.0.0.1", smtp.port, timeout=TIMEOUT, username="me", password="secret"))
    send(transport)  # loopback is nobody else's
    transport.close()
    import ipaddress

    monkeypatch.setattr(ipaddress.IPv4Address, "is_loopback", property(lambda _: False))
    with pytest.raises(Unavailable, match="not sent over a connection without TLS"):
        send(transport)


@pytest.mark.parametrize("hangs_up", [False, True])
def test_a_refused_password_is_sent_once_and_its_reason_is_kept(smtp: SmtpServer, hangs_up: bool) -> None:
    """Another try with another mechanism may lock the account."""

    def refuse(session: SmtpSession, usual: str) -> None:
        session.say("535 5.7.8 Username and Password not accepted")
        if hangs_up:
            raise Drop

    smtp.password = ("me", "secret")
    smtp.on("AUTH", refuse, always=True)
    with pytest.raises(Unavailable, match=r"535 5\.7\.8 Username and Password not accepted") as caught:
        send(Transport(Server("127.0.0.1", smtp.port, timeout=TIMEOUT, username="me", password="wrong")))
    assert caught.value.ours
    assert [line[:10] for line in smtp.commands if line.startswith("AUTH")] == ["AUTH PLAIN"]


@pytest.mark.parametrize("offered", ["", "AUTH GSSAPI"])
def test_a_server_without_a_usable_login_is_our_matter(smtp: SmtpServer, offered: str) -> None:
    smtp.extensions += [offered] if offered else []
    with pytest.raises(Unavailable, match="no login with a password") as caught:
        send(Transport(Server("127.0.0.1", smtp.port, timeout=TIMEOUT, username="me", password="secret")))
    assert caught.value.ours


@pytest.mark.parametrize(
    ("settings", "host", "name"),
    [
        ({"ehlo_name": "mx.example.com", "base_url": "https://www.example.com"}, "host.example.net", "mx.example.com"),
        ({"ehlo_name": "[192.0.2.1]"}, "host.example.net", "[192.0.2.1]"),
        ({"base_url": "https://www.example.com:8443/shop"}, "host.example.net", "www.example.com"),
        ({"base_url": "http://localhost:5000"}, "host.example.net", "host.example.net"),
        ({"base_url": "http://192.0.2.1"}, "host.example.net", "host.example.net"),
        ({"base_url": "https://exämple.com"}, "host.example.net", "host.example.net"),
        ({}, "web_1.internal", "[127.0.0.1]"),
        ({}, "3f2a9c", "[127.0.0.1]"),
    ],
)
def test_we_introduce_ourselves_by_a_name_that_servers_accept(
    smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], host: str, name: str
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)
    config = {f"MAIL_{key.upper()}": value for key, value in settings.items()}
    server = make_server(MailSettings.from_config({"MAIL_SERVER": "127.0.0.1", "MAIL_PORT": smtp.port, **config}))
    with closing(Transport(server)) as transport:
        transport.connect()
    assert smtp.commands[0].lower() == f"ehlo {name.lower()}"


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 on this machine")
def test_an_ipv6_connection_is_introduced_by_its_own_literal() -> None:
    listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    heard = []

    def serve() -> None:
        client, _ = listener.accept()
        with client:
            client.sendall(b"220 test ESMTP\r\n")
            heard.append(client.recv(100))
            client.sendall(b"250 test\r\n")

    thread = threading.Thread(target=serve)
    thread.start()
    with closing(Transport(Server("::1", listener.getsockname()[1], timeout=2))) as transport:
        transport.connect()
    thread.join()
    listener.close()
    assert heard == [b"ehlo [IPv6:::1]\r\n"]
