"""The socket side: connect, TLS, EHLO, login; write commands, and read replies before a deadline.

smtplib does the greeting and speaks the login. Reading and writing are our own, because smtplib's timeout is for each read: a
server that sends its reply byte by byte could block it for ever.
"""

from __future__ import annotations

import re
import select
import smtplib
import socket
import ssl
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from ...errors import Unavailable
from ..envelope import Reply
from ..replies import CLOSING, GREETING, cannot_talk, clean, is_positive
from .debug import note_commands, note_login, note_reply
from .dialing import GUARD_EVERY, dial, shake_hands

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..habits import Habits

REPLY_LINE = re.compile(rb"\d{3}(?:[ -].*)?")
# RFC 5321, 4.5.3.1.5 sets 512 octets for a reply line; some servers send more, but none as much as this.
LONGEST_LINE = 8192
MOST_LINES = 100
# The most bytes that one read or write passes to the socket.
CHUNK = 65536
# What EHLO would say without a name and before there is an address.
UNKNOWN_NAME = "[127.0.0.1]"
# How long to wait for the reply to QUIT, in seconds.
QUIT_TIMEOUT = 1.0
# How long to poll for a reply before the thread sleeps, in seconds: a quick server on the same host or network answers within
# this time, and waking up costs as much again.
POLL_FOR = 0.0001
# Acknowledge a reply at once while more of them are awaited (Linux). Many servers hold the next one back until then (Nagle's
# algorithm), and by default an acknowledgement alone takes 40 ms.
QUICK_ACK = getattr(socket, "TCP_QUICKACK", None)
# The login that every server offers comes first; over TLS or loopback none of them is safer than another.
MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5")


def no_guard() -> None:
    """Do nothing: the default guard, for mail sent without a lease."""


class SmtpConnection(smtplib.SMTP):
    """One connection to one server. ``open`` it, ``secure`` it with STARTTLS, ``authorize`` or ``log_in``.

    *timeout*, in seconds, limits each write of a chunk and each whole reply. *implicit_tls* encrypts from the first byte.
    """

    def __init__(self, timeout: float, habits: Habits, implicit_tls: ssl.SSLContext | None = None, ehlo_name: str = "") -> None:
        self._habits = habits
        self._implicit_tls = implicit_tls
        self._received = bytearray()
        self._reply_timeout = timeout
        # Whether the last read took less than POLL_FOR, and whether anything was read since the last write.
        self._is_quick = self._is_answering = False
        # Whether the next wait is the only one for an email: polling in each of four would cost more time than it saves.
        self._may_poll = False
        self._guard: Callable[[], None] = no_guard
        self._is_logging_in = False
        # Never empty: smtplib would look the host's name up in DNS, which can hang.
        super().__init__(local_hostname=ehlo_name or UNKNOWN_NAME, timeout=timeout)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        sock = dial(host, port, timeout, self._habits, self._guard)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock if self._implicit_tls is None else self._encrypt(sock, self._implicit_tls)

    def _encrypt(self, sock: socket.socket, context: ssl.SSLContext) -> socket.socket:
        # Kept before the handshake, so that cut() and close() reach it.
        self.sock = secured = context.wrap_socket(sock, server_hostname=self._host, do_handshake_on_connect=False)
        shake_hands(secured, self.timeout, self._guard)
        return secured

    def open(self, host: str, port: int, guard: Callable[[], None] = no_guard) -> None:
        """Connect, read the greeting and say EHLO.

        *guard* is called while waiting, until the first transmission ends. Raises smtplib's errors, or Unavailable.
        """
        # The name that the certificate has to be for.
        self._host, self._guard = host, guard
        code, text = self.connect(host, port)
        if code != GREETING:
            raise smtplib.SMTPConnectError(code, text)
        self._habits.note_greeting(text)
        if self.local_hostname == UNKNOWN_NAME and self.sock is not None:
            self.local_hostname = _literal(self.sock)
        self.greet()

    def secure(self, context: ssl.SSLContext) -> None:
        """Switch to TLS with STARTTLS and say EHLO again; raise Unavailable if the server offers no TLS."""
        if not self.has_extn("starttls"):
            message = "the server does not offer STARTTLS, and MAIL_USE_TLS says that nothing is sent without it"
            raise Unavailable(message, ours=True)
        code, text = self.docmd("STARTTLS")
        if code != GREETING:
            raise smtplib.SMTPResponseException(code, text)
        sock = self.sock
        if sock is None or self._received:
            self.close()
            message = "the server sent data before TLS began: somebody may be intercepting the connection"
            raise Unavailable(message)
        self._encrypt(sock, context)
        # RFC 3207, 4.2: what the server said before is forgotten.
        self.ehlo_resp, self.esmtp_features, self.does_esmtp = None, {}, False
        self.greet()

    def greet(self) -> None:
        """Say EHLO and read the extensions; say HELO to an old server."""
        code, text = self.ehlo()
        if code != CLOSING and not is_positive(code):
            code, text = self.helo()
        if not is_positive(code):
            raise cannot_talk("EHLO", Reply(code, clean(text)))

    def log_in(self, username: str, password: str) -> None:
        """Log in with a password, once: another mechanism after a refusal may lock the account. Raises smtplib's errors."""
        offered = self.esmtp_features.get("auth", "").upper().split()
        mechanism = next((one for one in MECHANISMS if one in offered), None)
        if mechanism is None:
            message = "the server offers no login with a password, which MAIL_USERNAME asks for"
            raise smtplib.SMTPNotSupportedError(message)
        self.user, self.password = username, password
        self.auth(mechanism, getattr(self, f"auth_{mechanism.lower().replace('-', '_')}"))

    def authorize(self, sasl: str) -> None:
        """Log in by XOAUTH2 with *sasl*; raises smtplib's errors."""
        if "XOAUTH2" not in self.esmtp_features.get("auth", "").split():
            message = "the server does not offer XOAUTH2, which MAIL_AUTH asks for"
            raise smtplib.SMTPNotSupportedError(message)
        # A server that refuses the token sends the reason as a challenge, and expects an empty answer to it.
        self.auth("XOAUTH2", lambda challenge=None: sasl if challenge is None else "")

    def auth(self, *args: Any, **kwargs: Any) -> tuple[int, bytes]:
        """Log in by one mechanism, as smtplib does; keep the secrets out of the log."""
        self._is_logging_in = True
        try:
            return super().auth(*args, **kwargs)
        finally:
            self._is_logging_in = False

    def putcmd(self, cmd: str, args: str = "") -> None:
        """Write one command of smtplib's."""
        command = f"{cmd} {args}" if args else cmd
        if self._is_logging_in:
            note_login(command)
        else:
            note_commands(command)
        super().putcmd(cmd, args)

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
                code = int(line[:3])
                note_reply(code, lines)
                return code, b"\n".join(lines)

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
                data = self._receive(sock, min(left, GUARD_EVERY))
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

    def _receive(self, sock: socket.socket, seconds: float) -> bytes:
        """Return what arrives next; raise TimeoutError if nothing does within *seconds*."""
        if self._is_answering and QUICK_ACK is not None:
            # Each time, because Linux forgets it.
            sock.setsockopt(socket.IPPROTO_TCP, QUICK_ACK, 1)
        begun = time.monotonic()
        data = _poll(sock) if self._may_poll and self._is_quick else None
        if data is None:
            _set_timeout(sock, seconds)
            data = sock.recv(CHUNK)
        # Polling for a server that takes longer would only keep the processor from it.
        self._is_quick = time.monotonic() - begun < POLL_FOR
        self._is_answering = True
        return data

    def send(self, s: str | bytes) -> None:  # type: ignore[override]  # narrower than smtplib's, which also takes buffers
        """Write all of *s*; the timeout applies to each chunk."""
        data = s.encode(self.command_encoding) if isinstance(s, str) else s
        view = memoryview(data)
        self._is_answering = False
        for start in range(0, len(view), CHUNK):
            self._send_chunk(view[start : start + CHUNK])

    def _send_chunk(self, chunk: memoryview) -> None:
        deadline = time.monotonic() + self.timeout
        while chunk:
            self._guard()
            left, sock = deadline - time.monotonic(), self.sock
            if sock is None:
                self._break("the connection is closed")
            if left <= 0:
                self._break(f"the server did not read within {self.timeout:g} s")
            try:
                _set_timeout(sock, min(left, GUARD_EVERY))
                chunk = chunk[sock.send(chunk) :]
            except TimeoutError:
                continue
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


def _set_timeout(sock: socket.socket, seconds: float) -> None:
    """Set the timeout if it is another: that costs a system call."""
    if sock.gettimeout() != seconds:
        sock.settimeout(seconds)


def _poll(sock: socket.socket) -> bytes | None:
    """Return what arrives within POLL_FOR, without sleeping; None if nothing does."""
    sock.settimeout(0)
    end = time.monotonic() + POLL_FOR
    while time.monotonic() < end:
        with suppress(BlockingIOError, ssl.SSLWantReadError):
            return sock.recv(CHUNK)
    return None


def _literal(sock: socket.socket) -> str:
    """Return the connection's own address as EHLO takes it instead of a name (RFC 5321, 4.1.3)."""
    address = str(sock.getsockname()[0]).partition("%")[0]
    return f"[IPv6:{address}]" if sock.family == socket.AF_INET6 else f"[{address}]"
