"""Logging in by XOAUTH2, against a token endpoint in this process."""

from __future__ import annotations

import base64
import json
import threading
import time
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest
import sqlalchemy as sa

from flask_outbox import MailSettings
from flask_outbox.errors import Unavailable
from flask_outbox.factories import make_server
from flask_outbox.smtp.envelope import Envelope
from flask_outbox.smtp.oauth import OAuth, OwnRefreshToken
from flask_outbox.smtp.server import Server
from flask_outbox.smtp.transport import Transport
from flask_outbox.store.models import Base
from flask_outbox.testing import Drop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flask_outbox.testing import SmtpServer

MAIL = b"Subject: hi\r\n\r\ntext\r\n"


class Endpoint:
    """Issues one token after the other, and records the requests."""

    def __init__(self) -> None:
        self.asked: list[dict[str, list[str]]] = []
        self.life: Any = 3600
        self.broken: tuple[int, bytes] | None = None
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                endpoint.asked.append(form)
                number = len(endpoint.asked)
                answer = {"access_token": f"token-{number}", "expires_in": endpoint.life, "refresh_token": f"refresh-{number}"}
                code, body = endpoint.broken or (200, json.dumps(answer).encode())
                self.send_response(code)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/token"


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    one = Endpoint()
    thread = threading.Thread(target=one.server.serve_forever, daemon=True)
    thread.start()
    yield one
    one.server.shutdown()
    one.server.server_close()
    thread.join()


@pytest.fixture
def transport(endpoint: Endpoint, smtp: SmtpServer) -> Iterator[Transport]:
    """A transport whose server takes every token but those in smtp.stale."""
    smtp.password = ("unused", "unused")
    smtp.stale = set()  # type: ignore[attr-defined]
    smtp.seen = []  # type: ignore[attr-defined]

    def check(session: Any, usual: str) -> None:
        said = base64.b64decode(smtp.commands[-1].split(" ")[2]).decode()
        token = said.partition("Bearer ")[2].rstrip("\x01")
        assert said == f"user=me@example.com\x01auth=Bearer {token}\x01\x01"
        smtp.seen.append(token)  # type: ignore[attr-defined]
        if token not in smtp.stale:  # type: ignore[attr-defined]
            session.say("235 2.7.0 welcome")
            return
        # As Google does it: the reason as a challenge, and the refusal after an empty answer.
        session.say("334 " + base64.b64encode(b'{"status":"401"}').decode())
        assert session.line() == b""
        session.say("535 5.7.8 bad token")

    smtp.on("AUTH", check, always=True)
    oauth = OAuth("me@example.com", "client", "secret", OwnRefreshToken("refresh-0"), endpoint.url, timeout=1)
    one = Transport(Server("127.0.0.1", smtp.port, timeout=2, username="me@example.com", oauth=oauth))
    yield one
    one.close()


def send(transport: Transport) -> None:
    transport.transmit(Envelope("a@example.com", "b@example.com", MAIL))


def test_a_token_is_fetched_once_and_kept(transport: Transport, endpoint: Endpoint, smtp: SmtpServer) -> None:
    for _ in range(3):
        send(transport)
        transport.close()
    assert smtp.seen == ["token-1"] * 3  # type: ignore[attr-defined]
    assert endpoint.asked == [
        {"grant_type": ["refresh_token"], "client_id": ["client"], "client_secret": ["secret"], "refresh_token": ["refresh-0"]}
    ]


@pytest.mark.parametrize("life", [60, "60"])
def test_an_expiring_token_is_replaced_with_the_new_refresh_token(
    transport: Transport, endpoint: Endpoint, smtp: SmtpServer, life: Any
) -> None:
    endpoint.life = life
    send(transport)
    transport.close()
    time.sleep(1.05)
    send(transport)
    assert [form["refresh_token"] for form in endpoint.asked] == [["refresh-0"], ["refresh-1"]]


def test_a_refused_token_is_replaced_and_the_same_connection_is_used(
    transport: Transport, endpoint: Endpoint, smtp: SmtpServer
) -> None:
    send(transport)
    transport.close()
    smtp.stale.add("token-1")  # type: ignore[attr-defined]
    send(transport)
    assert smtp.seen == ["token-1", "token-1", "token-2"]  # type: ignore[attr-defined]
    assert (smtp.connections, len(smtp.accepted)) == (2, 2)


def test_a_server_that_hangs_up_on_a_stale_token_gets_the_fresh_one_over_a_new_connection(
    transport: Transport, endpoint: Endpoint, smtp: SmtpServer
) -> None:
    def refuse_and_hang_up(session: Any, usual: str) -> None:
        session.say("535 5.7.8 bad token")
        raise Drop

    smtp.on("AUTH", refuse_and_hang_up)
    send(transport)
    assert smtp.seen == ["token-2"]  # type: ignore[attr-defined]
    assert (smtp.connections, len(smtp.accepted)) == (2, 1)


def test_a_mailbox_that_refuses_every_token_is_our_matter(transport: Transport, smtp: SmtpServer) -> None:
    smtp.stale |= {"token-1", "token-2"}  # type: ignore[attr-defined]
    with pytest.raises(Unavailable) as caught:
        send(transport)
    assert caught.value.ours


@pytest.mark.parametrize(
    ("broken", "ours"),
    [
        ((500, b""), False),
        ((429, b"{}"), False),
        ((400, b'{"error": "invalid_grant", "refresh_token": "refresh-0"}'), True),
        ((401, b"<html>no"), True),
        ((200, b"no json"), False),
        ((200, b"[]"), False),
        ((200, b"{}"), False),
    ],
)
def test_an_endpoint_that_is_down_or_refuses_is_unavailable(
    transport: Transport, endpoint: Endpoint, smtp: SmtpServer, broken: tuple[int, bytes], ours: bool
) -> None:
    endpoint.broken = broken
    with pytest.raises(Unavailable) as caught:
        send(transport)
    assert caught.value.ours is ours
    assert "refresh-0" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert not any(line.startswith(("AUTH", "MAIL")) for line in smtp.commands)


def test_a_closed_port_at_the_endpoint_is_unavailable(smtp: SmtpServer) -> None:
    smtp.password = ("unused", "unused")
    oauth = OAuth("me@example.com", "client", "", OwnRefreshToken("refresh"), "http://127.0.0.1:1/token", timeout=1)
    with pytest.raises(Unavailable, match="token endpoint"):
        send(Transport(Server("127.0.0.1", smtp.port, timeout=2, oauth=oauth)))


def test_an_endpoint_that_speaks_no_http_is_unavailable(smtp: SmtpServer) -> None:
    # An SMTP server's greeting is no status line.
    oauth = OAuth("me@example.com", "client", "", OwnRefreshToken("refresh"), f"http://127.0.0.1:{smtp.port}/token", timeout=1)
    with pytest.raises(Unavailable, match="token endpoint"):
        oauth.sasl()


def test_no_secret_is_in_the_repr() -> None:
    assert "secret" not in repr(OAuth("me@example.com", "client", "secret", OwnRefreshToken("secret")))


def test_the_token_endpoint_gets_as_much_time_as_the_server() -> None:
    settings = MailSettings.from_config(
        {
            "MAIL_USE_TLS": True,
            "MAIL_AUTH": "xoauth2",
            "MAIL_USERNAME": "box@example.com",
            "MAIL_OAUTH_CLIENT_ID": "client",
            "MAIL_OAUTH_REFRESH_TOKEN": "refresh",
            "MAIL_TIMEOUT": 7,
        }
    )
    oauth = make_server(settings).oauth
    assert oauth is not None
    assert oauth.timeout == 7


def test_two_workers_share_the_newest_refresh_token(endpoint: Endpoint, tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'tokens.sqlite3'}")
    Base.metadata.create_all(engine)
    settings = MailSettings(
        auth="xoauth2",
        username="me@example.com",
        oauth_client_id="client",
        oauth_refresh_token="refresh-0",
        oauth_token_url=endpoint.url,
    )
    for _ in range(3):
        oauth = make_server(settings, engine).oauth
        assert oauth is not None
        oauth.sasl()
    assert [form["refresh_token"] for form in endpoint.asked] == [["refresh-0"], ["refresh-1"], ["refresh-2"]]
    engine.dispose()


@pytest.mark.parametrize("life", ["soon", "", None])
def test_a_lifetime_that_is_no_number_does_not_lose_the_new_refresh_token(endpoint: Endpoint, life: Any) -> None:
    endpoint.life = life
    oauth = OAuth("me@example.com", "client", "", OwnRefreshToken("refresh-0"), endpoint.url, timeout=1)
    oauth.sasl()
    oauth.forget()
    oauth.sasl()
    assert [form["refresh_token"] for form in endpoint.asked] == [["refresh-0"], ["refresh-1"]]


@pytest.mark.parametrize(
    ("url", "days"),
    [
        ("microsoft", 90),
        ("https://login.microsoftonline.com/tenant/oauth2/v2.0/token", 90),
        ("google", None),
        ("https://login.microsoftonline.com.example/token", None),
    ],
)
def test_microsofts_refresh_tokens_last_for_ninety_days(url: str, days: int | None) -> None:
    lifetime = OAuth("me@example.com", "client", "", OwnRefreshToken("refresh"), url).lifetime
    assert lifetime == (None if days is None else timedelta(days=days))
