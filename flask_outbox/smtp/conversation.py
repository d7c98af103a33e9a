"""One connection to one SMTP server: every wait has an end, and every answer becomes one of our errors.

Built on smtplib for greeting, STARTTLS and login. Reading, writing and the transaction are our own: smtplib's
timeout is for each read, so that a server which drips its answer byte by byte can hold it for ever, and it spends a
round trip on each command where RFC 2920 (PIPELINING) allows MAIL, RCPT and DATA in one write, and even in the same
write as the message before: then an email costs one round trip.
"""

from __future__ import annotations

import logging
import re
import select
import smtplib
import socket
import ssl
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from ..errors import ENHANCED, Deferred, Refused, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

REPLY = re.compile(rb"\d{3}(?:[ -].*)?")
# RFC 5321, 4.5.3.1.5 sets 512 octets for a reply line; some servers send more, none sends this much.
LONGEST_LINE = 8192
MOST_LINES = 100
CHUNK = 65536
# How often a long wait looks up, to renew a lease or learn that it is lost, in seconds.
LOOK_UP = 5.0
# RFC 5321, 4.5.3.2.6: ten minutes after the final dot, because giving up early makes a second copy. Ten times
# the patience for other answers comes to five minutes by default.
PATIENCE_AFTER_DOT = 10
QUIT_PATIENCE = 1.0
# How long an answer is looked for before the thread goes to sleep for it, in seconds: a server on the same host or network
# answers within this time, and being woken up costs as much again.
SPIN = 0.0001

CLOSING = 421
START_INPUT = 354
TOO_LARGE = 552

# Refusals that speak of us: by RFC 3463 code, by reply code, and, because Postfix answers 5.7.1 at RCPT to a refused
# sender and a refused recipient alike, by the words of Postfix, Exim, OpenSMTPD, Exchange and the large providers.
OUR_ENHANCED = re.compile(r"5\.1\.[78]$|5\.7\.(0|3|8|9|14|57|60|64)$")
OF_THE_MAILBOX = re.compile(r"5\.(1\.(0|1|2|3|4|5|6|10)|2\.\d+)$")
ADDRESS = re.compile(r"<[^>]*>|\S+@\S+")
OUR_CODES = {530, 534, 535, 538}
OUR_WORDS = re.compile(
    r"relay|authenticat|log ?in\b|"
    r"sender\b.{0,60}\b(reject|refus|denied|not |unknown|invalid|verif|block)|"
    r"\b(reject|refus|denied|invalid|unknown|block)\w*\b.{0,20}\bsender\b|"
    r"not (allowed|permitted|authori[sz]ed) to send|client host .{0,80}(reject|block|denied)",
    re.IGNORECASE | re.DOTALL,
)


class Reply(NamedTuple):
    """What the server answered: the code, and its text with the enhanced status code first."""

    code: int
    reply: str

    @property
    def enhanced(self) -> str | None:
        """Return the enhanced status code (RFC 3463) that the text begins with."""
        found = ENHANCED.match(self.reply)
        return found.group(1) if found else None


class Envelope(NamedTuple):
    """One message for one recipient, as it goes over the wire."""

    sender: str
    recipient: str
    source: bytes

    @property
    def needs_smtputf8(self) -> bool:
        """Return whether an address has letters beyond ASCII, which is only possible before the @ here."""
        return not (self.sender.isascii() and self.recipient.isascii())


def nothing() -> None:
    """Be the guard of a transmission that no lease protects."""


class Conversation(smtplib.SMTP):
    """A connection, once it is ``open``; ``transmit`` sends one email to one recipient over it.

    *timeout* is the longest silence, and the longest answer, in seconds. *implicit_tls* encrypts from the first byte.
    """

    def __init__(self, timeout: float, implicit_tls: ssl.SSLContext | None = None) -> None:
        self._implicit_tls = implicit_tls
        self._received = bytearray()
        self._dirty = False
        # The envelope that went out behind the last message: its replies are still to be read.
        self._announced: Envelope | None = None
        self._patience = timeout
        self._guard: Callable[[], None] = nothing
        self.transmitted = 0
        super().__init__(local_hostname=_own_name(), timeout=timeout)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        connection = socket.create_connection((host, port), timeout)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._implicit_tls is None:
            return connection
        return self._implicit_tls.wrap_socket(connection, server_hostname=host)

    def open(self, host: str, port: int, guard: Callable[[], None] = nothing) -> None:
        """Connect, and be greeted; raises smtplib's errors. ``cut`` works while the greeting is awaited.

        *guard* is called while waiting, from now on until the first transmission.
        """
        self._host, self._guard = host, guard
        code, text = self.connect(host, port)
        if code != 220:  # noqa: PLR2004 - RFC 5321, 4.2.2
            raise smtplib.SMTPConnectError(code, text)
        self.greet()

    def secure(self, context: ssl.SSLContext) -> None:
        """Switch to TLS with STARTTLS, or raise Unavailable: nothing is sent in the clear."""
        if not self.has_extn("starttls"):
            message = "the server does not offer STARTTLS, and MAIL_USE_TLS says that nothing is sent without it"
            raise Unavailable(message, ours=True)
        self.starttls(context=context)
        if self._received:
            self.close()
            message = "the server sent more than it should before TLS: somebody may be in the line"
            raise Unavailable(message)
        self.greet()

    def greet(self) -> None:
        """Say EHLO, or HELO to an old server, and learn what it can do."""
        code, text = self.ehlo()
        if code == CLOSING or not 200 <= code <= 299:  # noqa: PLR2004 - RFC 5321, 4.2.1
            code, text = (code, text) if code == CLOSING else self.helo()
        if not 200 <= code <= 299:  # noqa: PLR2004
            raise Unavailable(clean(text), code)

    def authorize(self, sasl: str) -> None:
        """Log in by XOAUTH2; raises smtplib's errors."""
        if "XOAUTH2" not in self.esmtp_features.get("auth", "").split():
            message = "the server does not offer XOAUTH2, which MAIL_AUTH asks for"
            raise smtplib.SMTPNotSupportedError(message)
        # A server that refuses the token first sends why, as a challenge, and wants an empty answer to it.
        self.auth("XOAUTH2", lambda challenge=None: sasl if challenge is None else "")

    # Reading and writing

    def getreply(self) -> tuple[int, bytes]:
        """Read one whole reply within the patience there is, however slowly it comes."""
        deadline = time.monotonic() + self._patience
        lines: list[bytes] = []
        while True:
            line = self._line(deadline)
            if len(lines) == MOST_LINES:
                self._broken("the server's reply has no end")
            if not REPLY.fullmatch(line):
                self._broken(f"the server answered {line[:80]!r}, which is no SMTP reply")
            lines.append(line[4:].strip())
            if line[3:4] != b"-":
                return int(line[:3]), b"\n".join(lines)

    def _line(self, deadline: float) -> bytes:
        received = self._received
        while (end := received.find(b"\n")) < 0:
            if len(received) > LONGEST_LINE:
                self._broken("the server's reply has a line without end")
            self._guard()
            left, sock = deadline - time.monotonic(), self.sock
            if left <= 0 or sock is None:
                self._broken(f"the server did not answer within {self._patience:g} s")
            try:
                data = _receive_soon(sock)
                sock.settimeout(min(left, LOOK_UP))
                if data is None:
                    data = sock.recv(CHUNK)
            except TimeoutError:
                continue
            except OSError as error:
                self._broken(f"connection lost: {error}")
            if not data:
                self._broken("the server closed the connection")
            received += data
        line = bytes(received[:end]).rstrip(b"\r")
        del received[: end + 1]
        return line

    def send(self, s: str | bytes) -> None:  # type: ignore[override]
        """Write all of *s*, within the timeout for each piece of it."""
        data = s.encode(self.command_encoding) if isinstance(s, str) else s
        view = memoryview(data)
        for start in range(0, len(view), CHUNK):
            self._guard()
            sock = self.sock
            if sock is None:
                self._broken("the connection is closed")
            try:
                sock.settimeout(self.timeout)
                sock.sendall(view[start : start + CHUNK])
            except OSError as error:
                self._broken(f"connection lost: {error}")

    def _broken(self, why: str) -> NoReturn:
        self.close()
        raise smtplib.SMTPServerDisconnected(why)

    # State

    @property
    def is_alive(self) -> bool:
        """Return whether the connection can be used again, without a round trip.

        An idle 421, a FIN and a reset make the socket readable, and so does an answer to a question that nobody asked: the
        next reply would be taken for another's. Only a healthy TLS connection may have something to read, its session
        tickets, and then holds nothing for us. Where an envelope has been announced, its replies will tell.
        """
        sock = self.sock
        if sock is None or self._announced is not None or self._received:
            return sock is not None and self._announced is not None
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
        """Say QUIT and close; nothing that goes wrong here can hurt an email.

        Where an envelope has been announced the server waits for its message, and would take QUIT for that: only closing
        tells it that there is none.
        """
        self._guard, self._patience, self.timeout = nothing, QUIT_PATIENCE, QUIT_PATIENCE
        if self._announced is None:
            with suppress(smtplib.SMTPException, OSError):
                self.docmd("QUIT")
        self.close()

    def cut(self) -> None:
        """End whatever read or write is under way, from another thread: both fail at once, TLS too."""
        sock = self.sock
        if sock is not None:
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    # One email

    def transmit(self, email: Envelope, following: Envelope | None = None, *, guard: Callable[[], None] = nothing) -> Reply:
        """Send *email* and return the server's acceptance.

        The envelope of *following* goes out in the same write as the message, where the server allows that: the next call has
        to be for that one, or the connection is closed. *guard* is called before anything is written and while waiting; what
        it raises cuts the line, so that an email whose lease is lost cannot go out. Raises Refused, Deferred or Unavailable;
        smtplib.SMTPServerDisconnected where the line broke before the message itself was on it, so that the caller may try
        again over a new one.
        """
        misfit = self._misfit(email)
        if misfit is not None:
            raise misfit
        self._guard = guard
        try:
            self._envelope(email)
            return self._body(email.source, following)
        except BaseException:
            # Whatever escapes in the middle of a conversation leaves it in a state that nobody knows.
            if not self._dirty:
                self.close()
            raise
        finally:
            self._guard = nothing
            self._patience = self.timeout

    def _misfit(self, email: Envelope) -> Refused | None:
        """Return why the server cannot take *email*, as far as it has said at first."""
        limit, size = self.esmtp_features.get("size", ""), len(email.source)
        if limit.isdigit() and 0 < int(limit) < size:
            message = f"5.3.4 the message has {size} bytes, the server takes {limit} at most"
            return Refused(message, TOO_LARGE)
        if email.needs_smtputf8 and not self.has_extn("smtputf8"):
            message = "5.6.7 the address has letters beyond ASCII before the @, and the server does not offer SMTPUTF8"
            return Refused(message, 550)
        return None

    def _commands(self, email: Envelope) -> list[str]:
        options = f" SIZE={len(email.source)}" if "size" in self.esmtp_features else ""
        options += " SMTPUTF8" if email.needs_smtputf8 else ""
        return [f"MAIL FROM:<{email.sender}>{options}", f"RCPT TO:<{email.recipient}>", "DATA"]

    def _envelope(self, email: Envelope) -> None:
        commands = self._commands(email)
        if self._announced is not None:
            announced, self._announced = self._announced, None
            if announced != email:
                self._broken("the server waits for another message")
            replies = self._replies(commands)
        else:
            if self._dirty:
                # A refused transaction can still be open: without RSET a later recipient would be added to it.
                commands.insert(0, "RSET")
                self._dirty = False
            log.debug("%s", commands)
            replies = self._all_at_once(commands) if "pipelining" in self.esmtp_features else self._one_by_one(commands)
        for command, reply in zip(commands, replies, strict=False):
            if command == "RSET" and not _goes_on(command, reply):
                self._broken("the server would not begin anew")
            if not _goes_on(command, reply):
                # DATA was answered 354 all the same: a lone dot would send an empty mail (seen with Postfix and
                # Exim), so only closing gets out of it.
                self._refused(command, reply, close=replies[-1].code == START_INPUT)

    def _all_at_once(self, commands: list[str]) -> list[Reply]:
        self.send(_lines(commands))
        return self._replies(commands)

    def _replies(self, commands: list[str]) -> list[Reply]:
        replies: list[Reply] = []
        try:
            for _ in commands:
                replies.append(self._reply())  # noqa: PERF401 - what has been read counts when the next read fails
        except (smtplib.SMTPServerDisconnected, Unavailable):
            # Some servers refuse and hang up (Exim's "drop"): the refusal is the answer.
            if all(map(_goes_on, commands, replies)):
                raise
        return replies

    def _one_by_one(self, commands: list[str]) -> list[Reply]:
        replies: list[Reply] = []
        for one in commands:
            self.send(_lines([one]))
            replies.append(self._reply())
            if not _goes_on(one, replies[-1]):
                break
        return replies

    def _reply(self) -> Reply:
        code, text = self.getreply()
        reply = Reply(code, clean(text))
        log.debug("%s", reply)
        if code == CLOSING:
            self.close()
            raise Unavailable(reply.reply, CLOSING)
        return reply

    def _refused(self, command: str, reply: Reply, *, close: bool) -> None:
        if close:
            self.close()
        self._dirty = True
        raise _verdict(command.partition(" ")[0], reply)

    def _body(self, source: bytes, following: Envelope | None) -> Reply:
        if self._received:
            self._broken("the server answered what nobody had asked")
        # RFC 5321, 4.5.2: a dot at the beginning of a line is doubled.
        data = source.replace(b"\r\n.", b"\r\n..")
        data += b".\r\n" if data.endswith(b"\r\n") else b"\r\n.\r\n"
        # RFC 2920, 3.1: more commands may follow the final dot at once.
        announced = following if "pipelining" in self.esmtp_features and following and not self._misfit(following) else None
        if announced is not None:
            log.debug("%s", self._commands(announced))
            data += _lines(self._commands(announced))
        try:
            self.send(data)
            self._patience = self.timeout * PATIENCE_AFTER_DOT
            reply = self._reply()
        except (smtplib.SMTPException, OSError) as error:
            # Counted as uncertain even where the body was cut short: only the server knows how much it got.
            raise Deferred(f"{error} (after the message was on its way)", uncertain=True) from error
        self.transmitted += 1
        if not _goes_on(".", reply):
            # The answers to the envelope behind it are not waited for: what they mean after a refusal, servers disagree.
            self._refused(".", reply, close=announced is not None)
        self._announced = announced
        return reply


def _receive_soon(sock: socket.socket) -> bytes | None:
    """Return what has come within SPIN, without going to sleep; None for nothing."""
    sock.settimeout(0)
    end = time.monotonic() + SPIN
    while time.monotonic() < end:
        with suppress(BlockingIOError, ssl.SSLWantReadError):
            return sock.recv(CHUNK)
    return None


def _lines(commands: list[str]) -> bytes:
    return "".join(f"{one}\r\n" for one in commands).encode()


def _goes_on(command: str, reply: Reply) -> bool:
    return reply.code == START_INPUT if command == "DATA" else 200 <= reply.code <= 299  # noqa: PLR2004 - RFC 5321, 4.2.1


def _verdict(stage: str, reply: Reply) -> Refused | Deferred | Unavailable:
    """Turn a refusal into the error that says whose fault it is; the stage alone does not tell."""
    if not 500 <= reply.code <= 599:  # noqa: PLR2004
        return Deferred(reply.reply, reply.code)
    if _speaks_of_us(stage, reply):
        return Unavailable(reply.reply, reply.code, ours=True)
    return Refused(reply.reply, reply.code)


def _speaks_of_us(stage: str, reply: Reply) -> bool:
    enhanced = reply.enhanced or ""
    if reply.code == TOO_LARGE or enhanced.startswith("5.3.4"):
        return False
    if stage == "MAIL" or reply.code in OUR_CODES or OUR_ENHANCED.match(enhanced):
        return True
    # The reply may repeat the address, and anybody may have an address at relay.example.
    return not OF_THE_MAILBOX.match(enhanced) and bool(OUR_WORDS.search(ADDRESS.sub("", reply.reply)))


def clean(raw: bytes | str) -> str:
    """Return a reply on one line, without what could end a log line or upset a terminal, and not without end."""
    words = raw if isinstance(raw, str) else raw.decode("utf-8", "replace")
    text = " ".join(words.split())
    if text.isprintable():
        return text[:1000]
    return "".join(character if character.isprintable() else "?" for character in text)[:1000]


def _own_name() -> str:
    """Return the name for EHLO without asking DNS, which can hang: the host's own, or an address literal."""
    name = socket.gethostname()
    return name if "." in name and name.isascii() else "[127.0.0.1]"
