"""The one way to the SMTP server: a verified, logged-in connection that is kept for the next email.

``mail.send()``, ``mail.connect()`` and the worker all go through ``Transport``.
"""

from __future__ import annotations

import ipaddress
import smtplib
import socket
import ssl
import time
from typing import TYPE_CHECKING

from ..errors import Deferred, Held, TransmissionError, Unavailable
from .line.connection import no_guard
from .line.conversation import Conversation
from .replies import cannot_connect, wants_new_connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from .envelope import Envelope, Reply
    from .oauth import OAuth
    from .server import Server

# Longest idle time after which a connection is used again, in seconds. Servers may hang up after five minutes
# (RFC 5321, 4.5.3.2.7); many do so earlier.
LONGEST_IDLE = 30.0
# Postfix slows a client down after several refusals in a row, and hangs up after ten.
MOST_REFUSALS = 4


class Transport:
    """One connection to *server*, opened when it is needed and kept for the next email.

    It belongs to one thread; only ``cut`` may be called from another.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._conversation: Conversation | None = None
        # How many emails in a row this connection has carried without an acceptance.
        self._refusals = 0
        self._used_at = 0.0
        self._is_cut = False

    def transmit(self, email: Envelope, following: Envelope | None = None, *, guard: Callable[[], None] = no_guard) -> Reply:
        """Send one email and return the reply that accepts it; see ``Conversation.transmit``.

        A kept connection that turns out to be dead is replaced, once. On a staging site the email goes where MAIL_REDIRECT_TO
        says, or Held is raised. Raises Refused, Deferred or Unavailable.
        """
        routed = self._server.route(email)
        if routed is None:
            raise Held("MAIL_ALLOW_TO does not name the recipient")
        if following is not None:
            following = self._server.route(following)
        reused = self._ready(guard)
        try:
            return self._transmit(routed, following, guard)
        except smtplib.SMTPServerDisconnected as error:
            if not reused:
                raise Deferred(str(error)) from error
        except TransmissionError as error:
            if not (reused and wants_new_connection(error)):
                raise
        # The server has not accepted the message: it said so, or hung up before. Repeat it over a new connection.
        self.close()
        self._open(guard)
        try:
            return self._transmit(routed, following, guard)
        except smtplib.SMTPServerDisconnected as error:
            raise Deferred(str(error)) from error

    def _transmit(self, email: Envelope, following: Envelope | None, guard: Callable[[], None]) -> Reply:
        conversation = self._conversation
        assert conversation is not None  # noqa: S101 - _ready() and _open() set it
        self._refusals += 1
        if conversation.transmitted + 1 == self._server.most_emails:
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
    def conversation(self) -> Conversation | None:
        """Return the open connection, or None without one."""
        return self._conversation

    @property
    def is_connected(self) -> bool:
        """Return whether there is a connection that was used within LONGEST_IDLE."""
        return self._conversation is not None and time.monotonic() - self._used_at < LONGEST_IDLE

    def connect(self) -> None:
        """Open a connection unless a usable one exists; raise Unavailable if that fails."""
        self._ready(no_guard)

    def _ready(self, guard: Callable[[], None]) -> bool:
        """Keep a connection that looks alive, or open one; return whether it was used before."""
        conversation = self._conversation
        if conversation is not None:
            most = self._server.most_emails
            worn = self._refusals >= MOST_REFUSALS or (most is not None and conversation.transmitted >= most)
            if not worn and time.monotonic() - self._used_at < LONGEST_IDLE and conversation.is_alive:
                return True
            self.close()
        self._open(guard)
        return False

    def _open(self, guard: Callable[[], None]) -> None:
        """Connect, switch to TLS and log in, or raise Unavailable, without blaming an email."""
        if self._is_cut:
            raise Unavailable("the connection was cut, because the process must exit")
        server, self._refusals = self._server, 0
        try:
            self._log_in(self._dial(guard), guard)
            self._used_at = time.monotonic()
        except (OSError, ValueError) as error:  # smtplib's errors are OSErrors
            self.close()
            raise cannot_connect(error, f"{server.host}:{server.port}") from error
        except BaseException:  # Unavailable, a lost lease: a connection that is not ready must not be taken for a kept one
            self.close()
            raise

    def _dial(self, guard: Callable[[], None]) -> Conversation:
        server = self._server
        implicit_tls = server.tls if server.use_ssl else None
        self._conversation = conversation = Conversation(server.timeout, server.habits, implicit_tls, server.ehlo_name)
        conversation.open(server.host, server.port, guard)
        if server.use_tls:
            conversation.secure(server.tls)
        return conversation

    def _log_in(self, conversation: Conversation, guard: Callable[[], None]) -> None:
        server = self._server
        if server.oauth is not None:
            _require_privacy(conversation)
            try:
                conversation.authorize(server.oauth.sasl())
            except smtplib.SMTPAuthenticationError:
                # A token may be revoked before it expires; if the server refuses a fresh one too, the token is not the cause.
                server.oauth.forget()
                self._authorize_again(server.oauth, conversation, guard)
        elif server.username and server.password:
            _require_privacy(conversation)
            conversation.log_in(server.username, server.password)

    def _authorize_again(self, oauth: OAuth, conversation: Conversation, guard: Callable[[], None]) -> None:
        try:
            conversation.authorize(oauth.sasl())
        except smtplib.SMTPServerDisconnected:
            # It hung up on the refused token.
            self._dial(guard).authorize(oauth.sasl())

    def close_if_idle(self) -> None:
        """Close a connection that was not used within LONGEST_IDLE."""
        if self._conversation is not None and not self.is_connected:
            self.close()

    def close(self) -> None:
        """Say QUIT and close the connection, if there is one; never raises."""
        conversation, self._conversation = self._conversation, None
        if conversation is not None and conversation.sock is not None:
            conversation.leave()

    def cut(self) -> None:
        """Cut the connection of a transmission in another thread, and open no other."""
        self._is_cut = True
        conversation = self._conversation
        if conversation is not None:
            conversation.cut()


def _require_privacy(conversation: Conversation) -> None:
    """Raise Unavailable unless the connection is encrypted or local: nobody must be able to read the password on the way."""
    sock = conversation.sock
    if sock is None or isinstance(sock, ssl.SSLSocket) or sock.family == socket.AF_UNIX:
        return
    if not ipaddress.ip_address(sock.getpeername()[0].partition("%")[0]).is_loopback:
        message = "the password is not sent over a connection without TLS: set MAIL_USE_TLS or MAIL_USE_SSL"
        raise Unavailable(message, ours=True)
