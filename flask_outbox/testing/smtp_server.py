"""An SMTP server for tests: it stores every message, and misbehaves on request. Standard library only."""

from __future__ import annotations

import base64
import binascii
import socket
import threading
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from typing import TYPE_CHECKING, Self

from .smtp_commands import follow
from .smtp_session import Drop, SmtpSession

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from email.message import EmailMessage

    from .answers import Answer

STAGES = ("CONNECT", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "DOT", "RSET", "NOOP", "QUIT")
EXTENSIONS = ("PIPELINING", "SIZE 10485760", "SMTPUTF8")


@dataclass(frozen=True)
class AcceptedMessage:
    """One message for one recipient that the server has accepted; a message for two recipients is accepted twice.

    ``sender`` and ``recipient`` are the envelope, ``source`` the message as bytes, ``at`` the ``time.monotonic()`` of the
    acceptance.
    """

    sender: str
    recipient: str
    source: bytes
    at: float = field(default_factory=time.monotonic)

    @property
    def message(self) -> EmailMessage:
        """Return the message, parsed by the standard library."""
        return message_from_bytes(self.source, policy=policy.default)

    @property
    def message_id(self) -> str:
        """Return the Message-ID header, angle brackets included."""
        return str(self.message["Message-ID"])


class SmtpServer:
    """An SMTP server on 127.0.0.1, in threads of this process; use it as a context manager.

    ::

        with SmtpServer() as server:
            app.config.update(MAIL_SERVER=server.host, MAIL_PORT=server.port, MAIL_SUPPRESS_SEND=False)
            server.on("RCPT", reply("451 4.7.1 try again later"))

    *extensions* are what it offers after EHLO, *port* is its port (0: a free one). Set ``password`` to a pair of user name and
    password to make it offer AUTH (only PLAIN is checked), ``tls`` to a server-side ``ssl.SSLContext`` to make it offer
    STARTTLS, and ``implicit_tls`` to make it encrypt from the first byte instead.

    What it has seen: ``accepted`` (the messages), ``abandoned`` (what arrived of a message whose client went away before the
    final dot), ``commands`` (every command line of every connection), ``connections`` (how many there were), ``most_open`` (how
    many at one time).
    """

    host = "127.0.0.1"

    def __init__(self, *, extensions: tuple[str, ...] = EXTENSIONS, port: int = 0) -> None:
        self.extensions = list(extensions)
        self.accepted: list[AcceptedMessage] = []
        self.abandoned: list[bytes] = []
        self.commands: list[str] = []
        self.connections = self.most_open = 0
        self.password: tuple[str, str] | None = None
        self.tls: ssl.SSLContext | None = None
        self.implicit_tls = False
        self._once: dict[str, deque[Answer]] = defaultdict(deque)
        self._always: dict[str, Answer] = {}
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server((self.host, port), backlog=64)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._start_thread(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Close every connection and the port, and wait for the threads."""
        self._ended.set()
        # close() alone leaves accept() waiting.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for sock in self._open:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue
        for thread in self._threads:
            thread.join(5)

    # The script

    def on(self, stage: str, *answers: Answer, always: bool = False) -> None:
        """Answer the next commands of *stage* with *answers*, one each; with *always*, every one with the same answer.

        *stage* is CONNECT (the greeting), EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA, DOT (the reply to the message), RSET, NOOP or
        QUIT. Answers for one time go before those for always. Raises ValueError for another stage, or for *always* with more
        than one answer.
        """
        if stage not in STAGES:
            message = f"{stage!r} is no stage: use one of {', '.join(STAGES)}"
            raise ValueError(message)
        if not always:
            self._once[stage].extend(answers)
            return
        if len(answers) != 1:
            message = f"always=True takes exactly one answer, and there are {len(answers)}"
            raise ValueError(message)
        self._always[stage] = answers[0]

    def reset(self) -> None:
        """Forget the script: every command gets its usual reply again. What was seen is kept."""
        self._once.clear()
        self._always.clear()

    def wait_for(self, count: int, seconds: float = 10.0) -> list[AcceptedMessage]:
        """Return ``accepted`` as soon as it holds *count* messages; raise TimeoutError after *seconds*."""
        end = time.monotonic() + seconds
        while len(self.accepted) < count:
            if time.monotonic() >= end:
                message = f"{len(self.accepted)} of {count} messages after {seconds} s"
                raise TimeoutError(message)
            time.sleep(0.01)
        return self.accepted

    # For the commands: not for tests

    def answer(self, session: SmtpSession, stage: str, usual: str) -> None:
        """Answer on *session* as the script says, or with the *usual* reply."""
        with self._lock:
            once = self._once[stage]
            answer = once.popleft() if once else self._always.get(stage)
        if answer is None:
            session.say(usual)
        else:
            answer(session, usual)

    def accept(self, session: SmtpSession) -> None:
        """Keep the message of *session*, once for each recipient."""
        with self._lock:
            self.accepted += [AcceptedMessage(session.sender, recipient, session.source) for recipient in session.recipients]

    def is_password(self, given: str) -> bool:
        """Return whether *given*, the argument of AUTH PLAIN, holds the right user name and password."""
        try:
            words = base64.b64decode(given).decode().split("\0")
        except (binascii.Error, UnicodeDecodeError):
            return False
        return tuple(words[1:]) == self.password

    # Connections

    def encrypt(self, session: SmtpSession) -> None:
        """Begin TLS on *session*."""
        if self.tls is None:
            raise Drop
        plain = session.sock
        session.sock = self.tls.wrap_socket(plain, server_side=True)
        session.is_encrypted = True
        with self._lock:
            self._open.discard(plain)
            self._open.add(session.sock)

    def _start_thread(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, name="smtp-server", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                sock, _ = self._listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError:
                return
            with self._lock:
                self._open.add(sock)
                self.connections += 1
                self.most_open = max(self.most_open, len(self._open))
            self._start_thread(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        session = SmtpSession(sock, self._ended, self.abandoned)
        try:
            if self.implicit_tls:
                self.encrypt(session)
            self.answer(session, "CONNECT", "220 test ESMTP")
            while True:
                line = session.line().decode("utf-8", "replace")
                self.commands.append(line)
                follow(self, session, line)
        except (Drop, OSError, ValueError):
            pass  # the connection is over
        finally:
            with self._lock:
                self._open -= {session.sock, sock}
            session.sock.close()
