"""The one way to the SMTP server: a verified, logged-in connection that is kept and used again.

``mail.send()``, ``mail.connect()`` and the worker all go through ``Transport``.
"""

from __future__ import annotations

import ipaddress
import smtplib
import socket
import ssl
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from ..errors import Deferred, Held, Unavailable
from .conversation import CLOSING, Conversation, Envelope, Reply, clean, nothing
from .staging import Staging

if TYPE_CHECKING:
    from collections.abc import Callable

    from .oauth import OAuth

# A server need not keep an idle client for more than five minutes (RFC 5321, 4.5.3.2.7); many allow less.
LONGEST_IDLE = 30.0
# Postfix slows a client down after several refusals in a row, and hangs up after ten.
MOST_REFUSALS = 4


@dataclass(frozen=True)
class Server:
    """Where mail goes out, and how to get in; the fields are Flask-Mail's settings."""

    host: str = "localhost"
    port: int = 25
    use_tls: bool = False
    use_ssl: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    timeout: float = 30.0
    max_emails: int | None = None
    ca_file: str | None = None
    oauth: OAuth | None = None
    staging: Staging = field(default_factory=Staging)

    @cached_property
    def tls(self) -> ssl.SSLContext:
        """Return the one context for all connections (it takes 24 ms to build); it verifies name, date and issuer."""
        context = ssl.create_default_context()
        if self.ca_file:
            # Beside the system's authorities: cafile= would take their place.
            context.load_verify_locations(self.ca_file)
        return context


class Transport:
    """One connection to *server*, opened when it is needed and kept for the next email.

    It belongs to one thread; only ``cut`` may be called from another.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._conversation: Conversation | None = None
        self._refusals = 0
        self._used_at = 0.0
        self._is_cut = False

    def transmit(self, email: Envelope, following: Envelope | None = None, *, guard: Callable[[], None] = nothing) -> Reply:
        """Send one email; see ``Conversation.transmit``. A kept connection that turns out dead is replaced, once.

        On a staging site it goes where MAIL_REDIRECT_TO says, or Held is raised.
        """
        routed = self._server.staging.route(email)
        if routed is None:
            raise Held("MAIL_ALLOW_TO does not name the recipient")
        if following is not None:
            following = self._server.staging.route(following)
        reused = self._ready(guard)
        try:
            return self._transmit(routed, following, guard)
        except smtplib.SMTPServerDisconnected as error:
            if not reused:
                raise Deferred(str(error)) from error
        except (Unavailable, Deferred) as error:
            if not (reused and _means_worn_out(error)):
                raise
        # The server has not taken the message over the old connection, and said so or was gone: use a new one.
        self.close()
        self._open(guard)
        try:
            return self._transmit(routed, following, guard)
        except smtplib.SMTPServerDisconnected as error:
            raise Deferred(str(error)) from error

    def _transmit(self, email: Envelope, following: Envelope | None, guard: Callable[[], None]) -> Reply:
        conversation = self._conversation
        assert conversation is not None  # noqa: S101 - _ready() and _open() see to it
        self._refusals += 1
        if conversation.transmitted + 1 == self._server.max_emails:
            following = None
        try:
            reply = conversation.transmit(email, following, guard=guard)
        except Unavailable as error:
            error.over_an_email = True
            raise
        finally:
            self._used_at = time.monotonic()
        self._refusals = 0
        return reply

    @property
    def is_connected(self) -> bool:
        """Return whether there is a connection that was used a moment ago."""
        return self._conversation is not None and time.monotonic() - self._used_at < LONGEST_IDLE

    def connect(self) -> None:
        """Have a connection, or raise Unavailable: before anything is claimed that a long wait would hold up."""
        self._ready(nothing)

    def _ready(self, guard: Callable[[], None]) -> bool:
        """Have a connection that looks alive; return whether it is one that was used before."""
        conversation = self._conversation
        if conversation is not None:
            worn = self._refusals >= MOST_REFUSALS or conversation.transmitted == self._server.max_emails
            if not worn and time.monotonic() - self._used_at < LONGEST_IDLE and conversation.is_alive:
                return True
            self.close()
        self._open(guard)
        return False

    def _open(self, guard: Callable[[], None]) -> None:
        """Connect, secure and log in, or raise Unavailable: until then no email can be to blame."""
        if self._is_cut:
            raise Unavailable("the line was cut, because the process is to end")
        server, self._refusals = self._server, 0
        where = f"{server.host}:{server.port}"
        try:
            self._conversation = Conversation(server.timeout, server.tls if server.use_ssl else None)
            self._conversation.open(server.host, server.port, guard)
            if server.use_tls:
                self._conversation.secure(server.tls)
            self._login(self._conversation)
            self._used_at = time.monotonic()
        except Unavailable:
            self.close()
            raise
        except smtplib.SMTPResponseException as error:
            self.close()
            refused = isinstance(error, smtplib.SMTPAuthenticationError) and error.smtp_code >= 500  # noqa: PLR2004
            raise Unavailable(clean(error.smtp_error), error.smtp_code, ours=refused) from error
        except (OSError, smtplib.SMTPException, ValueError) as error:
            self.close()
            ours = isinstance(error, ssl.SSLCertVerificationError | smtplib.SMTPNotSupportedError)
            why = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else error
            message = f"cannot use {where}: {clean(str(why))}"
            raise Unavailable(message, ours=ours) from error

    def _login(self, conversation: Conversation) -> None:
        server = self._server
        if server.oauth is not None:
            _check_privacy(conversation)
            try:
                conversation.authorize(server.oauth.sasl())
            except smtplib.SMTPAuthenticationError:
                # A token may be withdrawn before its time; a second one that is refused is not the token's fault.
                server.oauth.forget()
                conversation.authorize(server.oauth.sasl())
        elif server.username and server.password:
            _check_privacy(conversation)
            conversation.login(server.username, server.password)

    def rest(self) -> None:
        """Close a connection that nobody has used for a while."""
        if self._conversation is not None and time.monotonic() - self._used_at >= LONGEST_IDLE:
            self.close()

    def close(self) -> None:
        """Say goodbye, if there is anybody to say it to; never raises."""
        conversation, self._conversation = self._conversation, None
        if conversation is not None and conversation.sock is not None:
            conversation.leave()

    def cut(self) -> None:
        """Break the line under a transmission in another thread, for good: no other is opened."""
        self._is_cut = True
        conversation = self._conversation
        if conversation is not None:
            conversation.cut()


def _means_worn_out(error: Unavailable | Deferred) -> bool:
    """Return whether the server only asks for a new connection: 421, or OpenSMTPD's 452 4.5.3 from the 101st mail on."""
    return error.code == CLOSING or (error.enhanced == "4.5.3" and not (isinstance(error, Deferred) and error.uncertain))


def _check_privacy(conversation: Conversation) -> None:
    """Raise Unavailable rather than say a password over a line that others can read."""
    sock = conversation.sock
    if sock is None or isinstance(sock, ssl.SSLSocket) or sock.family == socket.AF_UNIX:
        return
    if not ipaddress.ip_address(sock.getpeername()[0].partition("%")[0]).is_loopback:
        message = "the password is not sent over a connection without TLS: set MAIL_USE_TLS or MAIL_USE_SSL"
        raise Unavailable(message, ours=True)
