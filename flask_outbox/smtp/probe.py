"""Probe the SMTP server without sending anything: connect, switch to TLS, log in, and read what it offers."""

from __future__ import annotations

import ssl
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from .transport import Transport

if TYPE_CHECKING:
    from .server import Server


@dataclass(frozen=True)
class Probe:
    """What the server said: its *extensions* by name in capitals, with their parameters.

    *tls* is the version, empty without TLS, and *certificate_ends* the time at which the certificate expires. *is_logged_in* says
    whether there was a login.
    """

    extensions: dict[str, str]
    tls: str = ""
    certificate_ends: datetime | None = None
    is_logged_in: bool = False


def probe(server: Server) -> Probe:
    """Connect as a worker does, and hang up; raise Unavailable if that fails."""
    with closing(Transport(server)) as transport:
        transport.connect()
        conversation = transport.conversation
        assert conversation is not None  # noqa: S101 - connect() opens it
        extensions = {name.upper(): str(value).strip() for name, value in conversation.esmtp_features.items()}
        sock: Any = conversation.sock
        is_logged_in = server.oauth is not None or bool(server.username)
        if not isinstance(sock, ssl.SSLSocket):
            return Probe(extensions, is_logged_in=is_logged_in)
        certificate: dict[str, Any] = sock.getpeercert() or {}
        ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)
        return Probe(extensions, sock.version() or "TLS", ends, is_logged_in)
