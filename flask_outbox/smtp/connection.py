"""The socket side: connect, TLS, EHLO, login; write commands, and read replies before a deadline.

smtplib does the greeting, STARTTLS and the login. Reading and writing are our own, because smtplib's timeout is for each
read: a server that sends its reply byte by byte could block it for ever.
"""

from __future__ import annotations

import re
import select
import smtplib
import socket
import ssl
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from ..errors import Unavailable
from .envelope import Reply
from .replies import CLOSING, GREETING, cannot_talk, clean, is_positive

if TYPE_CHECKING:
    from collections.abc import Callable

REPLY_LINE = re.compile(rb"\d{3}(?:[ -].*)?")
# RFC 5321, 4.5.3.1.5 sets 512 octets for a reply line; some servers send more, but none as much as this.
LONGEST_LINE = 8192
MOST_LINES = 100
# The most bytes that one read or write passes to the socket.
CHUNK = 65536
# How often a long wait calls the guard, in seconds, to renew a lease or learn that it is lost.
GUARD_EVERY = 5.0
# How long to wait for the reply to QUIT, in seconds.
QUIT_TIMEOUT = 1.0
# How long to poll for a reply before the thread sleeps, in seconds: a server on the same host or network answers within
# this time, and waking up costs as much again.
POLL_FOR = 0.0001


def no_guard() -> None:
    """Do nothing: the default guard, for mail sent without a lease."""


class SmtpConnection(smtplib.SMTP):
    """One connection to one server. ``open`` it, ``secure`` it with STARTTLS, ``authorize`` or ``login``.

    *timeout*, in seconds, limits each write of a chunk and each whole reply. *implicit_tls* encrypts from the first byte.
    """

    def __init__(self, timeout: float, implicit_tls: ssl.SSLContext | None = None) -> None:
        self._implicit_tls = implicit_tls
        self._received = bytearray()
        self._reply_timeout = timeout
        self._guard: Callable[[], None] = no_guard
        super().__init__(local_hostname=_ehlo_name(), timeout=timeout)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        connection = socket.create_connection((host, port), timeout)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._implicit_tls is None:
            return connection
        return self._implicit_tls.wrap_socket(connection, server_hostname=host)

    def open(self, host: str, port: int, guard: Callable[[], None] = no_guard) -> None:
        """Connect, read the greeting and say EHLO.

        *guard* is called while waiting, until the first transmission ends. Raises smtplib's errors, or Unavailable.
        """
        # Where smtplib keeps the name that starttls() checks the certificate for; connect() does not set it.
        self._host, self._guard = host, guard
        code, text = self.connect(host, port)
        if code != GREETING:
            raise smtplib.SMTPConnectError(code, text)
        self.greet()

    def secure(self, context: ssl.SSLContext) -> None:
        """Switch to TLS with STARTTLS and say EHLO again; raise Unavailable if the server offers no TLS."""
        if not self.has_extn("starttls"):
            message = "the server does not offer STARTTLS, and MAIL_USE_TLS says that nothing is sent without it"
            raise Unavailable(message, ours=True)
        self.starttls(context=context)
        if self._received:
            self.close()
            message = "the server sent data before TLS began: somebody may be intercepting the connection"
            raise Unavailable(message)
        self.greet()

    def greet(self) -> None:
        """Say EHLO and read the extensions; say HELO to an old server."""
        code, text = self.ehlo()
        if code != CLOSING and not is_positive(code):
            code, text = self.helo()
        if not is_positive(code):
            raise cannot_talk("EHLO", Reply(code, clean(text)))

    def authorize(self, sasl: str) -> None:
        """Log in by XOAUTH2 with *sasl*; raises smtplib's errors."""
        if "XOAUTH2" not in self.esmtp_features.get("auth", "").split():
            message = "the server does not offer XOAUTH2, which MAIL_AUTH asks for"
            raise smtplib.SMTPNotSupportedError(message)
        # A server that refuses the token sends the reason as a challenge, and expects an empty answer to it.
        self.auth("XOAUTH2", lambda challenge=None: sasl if challenge is None else "")

    def getreply(self) -> tuple[int, bytes]:
        """Read one whole reply before its deadline, however many reads that takes."""
        deadline = time.monotonic() + self._reply_timeout
        lines: list[bytes] = []
        while True:
            line = self._line(deadline)
            if len(lines) == MOST_LINES:
                self._break("the server's reply has no end")
            if not REPLY_LINE.fullmatch(line):
                self._break(f"the server answered {line[:80]!r}, which is no SMTP reply")
            lines.append(line[4:].strip())
            if line[3:4] != b"-":
                return int(line[:3]), b"\n".join(lines)

    def _line(self, deadline: float) -> bytes:
        received = self._received
        while (end := received.find(b"\n")) < 0:
            if len(received) > LONGEST_LINE:
                self._break("the server's reply has a line without end")
            self._guard()
            left, sock = deadline - time.monotonic(), self.sock
            if left <= 0 or sock is None:
                self._break(f"the server did not answer within {self._reply_timeout:g} s")
            try:
                data = _poll(sock)
                sock.settimeout(min(left, GUARD_EVERY))
                if data is None:
                    data = sock.recv(CHUNK)
            except TimeoutError:
                continue
            except OSError as error:
                self._break(f"connection lost: {error}")
            if not data:
                self._break("the server closed the connection")
            received += data
        line = bytes(received[:end]).rstrip(b"\r")
        del received[: end + 1]
        return line

    def send(self, s: str | bytes) -> None:  # type: ignore[override]  # narrower than smtplib's, which also takes buffers
        """Write all of *s*; the timeout applies to each chunk."""
        data = s.encode(self.command_encoding) if isinstance(s, str) else s
        view = memoryview(data)
        for start in range(0, len(view), CHUNK):
            self._guard()
            sock = self.sock
            if sock is None:
                self._break("the connection is closed")
            try:
                sock.settimeout(self.timeout)
                sock.sendall(view[start : start + CHUNK])
            except OSError as error:
                self._break(f"connection lost: {error}")

    def _break(self, why: str) -> NoReturn:
        """Close the connection and raise SMTPServerDisconnected."""
        self.close()
        raise smtplib.SMTPServerDisconnected(why)

    @property
    def is_alive(self) -> bool:
        """Return whether the connection can be used again, without a round trip.

        An idle 421, a FIN and a reset make the socket readable. So does an unsolicited reply, which would be mistaken for the
        next one. A healthy connection is readable only with TLS, whose session tickets carry no data.
        """
        sock = self.sock
        if sock is None or self._received:
            return False
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        if not poll.poll(0):
            return True
        if not isinstance(sock, ssl.SSLSocket):
            return False
        try:
            sock.settimeout(0)
            self._received += sock.recv(CHUNK)
        except ssl.SSLWantReadError:
            return True
        except OSError:
            return False
        return False

    def leave(self) -> None:
        """Say QUIT and close; ignore errors, because the emails are sent by now."""
        self._guard, self._reply_timeout, self.timeout = no_guard, QUIT_TIMEOUT, QUIT_TIMEOUT
        with suppress(smtplib.SMTPException, OSError):
            self.docmd("QUIT")
        self.close()

    def cut(self) -> None:
        """Make the current read or write fail at once, also over TLS; called from another thread."""
        sock = self.sock
        if sock is not None:
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _poll(sock: socket.socket) -> bytes | None:
    """Return what arrives within POLL_FOR, without sleeping; None if nothing does."""
    sock.settimeout(0)
    end = time.monotonic() + POLL_FOR
    while time.monotonic() < end:
        with suppress(BlockingIOError, ssl.SSLWantReadError):
            return sock.recv(CHUNK)
    return None


def _ehlo_name() -> str:
    """Return the host's name if it has a domain, otherwise an address literal; without DNS, which can hang."""
    name = socket.gethostname()
    return name if "." in name and name.isascii() else "[127.0.0.1]"
