"""MAIL_DEBUG shows the whole conversation, whoever has configured logging, and no secret."""

from __future__ import annotations

import base64
import logging
import ssl
from typing import TYPE_CHECKING

import pytest
import trustme

from flask_outbox.errors import Unavailable
from flask_outbox.smtp.envelope import Envelope
from flask_outbox.smtp.line.debug import show_conversation
from flask_outbox.smtp.oauth import OAuth, OwnRefreshToken
from flask_outbox.smtp.server import Server
from flask_outbox.smtp.transport import Transport
from flask_outbox.testing import reply

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flask_outbox.testing import SmtpServer

MAIL = b"Subject: hi\r\n\r\nnobody's business\r\n"
PASSWORD = "correct horse"


@pytest.fixture(autouse=True)
def shown() -> Iterator[None]:
    log = logging.getLogger("flask_outbox.smtp")
    level, handlers = log.level, list(log.handlers)
    show_conversation()
    yield
    log.setLevel(level)
    log.handlers[:] = handlers


def send(transport: Transport) -> None:
    transport.transmit(Envelope("a@example.com", "b@example.com", MAIL))
    transport.close()


def test_the_whole_conversation_is_shown(
    smtp: SmtpServer, authority: trustme.CA, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    smtp.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(smtp.tls)
    smtp.password = ("me", PASSWORD)
    ca = str(tmp_path / "ca.pem")
    send(Transport(Server("localhost", smtp.port, timeout=2, use_tls=True, ca_file=ca, username="me", password=PASSWORD)))
    said = [record.message for record in caplog.records if record.name == "flask_outbox.smtp"]
    client = [line.partition(": ")[2].split()[0].upper() for line in said if line.startswith("client: ")]
    assert client == ["EHLO", "STARTTLS", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "(A", "QUIT"]
    assert sum(line.startswith("server: ") for line in said) == len(client) + 1, "the greeting comes before any command"
    assert any(line.startswith("server: 220 ") for line in said)
    assert "nobody's business" not in caplog.text


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
@pytest.mark.parametrize("answer", ["usual", "535 5.7.8 no"])
def test_no_password_is_shown(smtp: SmtpServer, caplog: pytest.LogCaptureFixture, mechanism: str, answer: str) -> None:
    smtp.password = ("me", PASSWORD)
    smtp.on("EHLO", reply(f"250-localhost\r\n250 AUTH {mechanism}"), always=True)
    if answer != "usual":
        smtp.on("AUTH", reply(answer), always=True)
    transport = Transport(Server("127.0.0.1", smtp.port, timeout=1, username="me", password=PASSWORD))
    try:
        send(transport)
    except Unavailable:
        transport.close()
    assert f"client: AUTH {mechanism} ***" in caplog.text
    secrets = [PASSWORD, *(base64.b64encode(text.encode()).decode() for text in (PASSWORD, f"\0me\0{PASSWORD}", "me"))]
    assert not [secret for secret in secrets if secret in caplog.text]


def test_no_token_is_shown(smtp: SmtpServer, caplog: pytest.LogCaptureFixture) -> None:
    smtp.password = ("unused", "unused")
    oauth = OAuth("me@example.com", "client", "client-secret", OwnRefreshToken("refresh-secret"))
    oauth._token, oauth._until = "access-secret", float("inf")
    smtp.on("AUTH", reply("235 2.7.0 welcome"))
    send(Transport(Server("127.0.0.1", smtp.port, timeout=1, oauth=oauth)))
    assert "client: AUTH XOAUTH2 ***" in caplog.text
    assert base64.b64encode(oauth.sasl().encode()).decode() not in caplog.text
    assert "secret" not in caplog.text


def test_it_is_shown_even_if_the_host_has_not_configured_logging(
    smtp: SmtpServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    show_conversation()
    send(Transport(Server("127.0.0.1", smtp.port, timeout=2)))
    shown = capsys.readouterr().err
    assert shown.count("client: MAIL FROM:<a@example.com>") == 1
    assert shown.count("server: 220 ") == 1


def test_a_host_that_has_configured_logging_gets_each_line_once(
    smtp: SmtpServer, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    send(Transport(Server("127.0.0.1", smtp.port, timeout=2)))
    assert capsys.readouterr().err == ""
    assert caplog.text.count("client: MAIL FROM:<a@example.com>") == 1
