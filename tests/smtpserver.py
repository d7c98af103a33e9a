"""An SMTP server that can be told to misbehave at any point, and that remembers every message it has accepted."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from email.message import EmailMessage

STAGES = ("CONNECT", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "DOT", "RSET", "NOOP", "QUIT")


@dataclass(frozen=True)
class Accepted:
    """One message that the server has said 250 to, or meant to."""

    sender: str
    recipient: str
    source: bytes
    at: float = field(default_factory=time.monotonic)

    @property
    def message(self) -> EmailMessage:
        return message_from_bytes(self.source, policy=policy.default)  # type: ignore[return-value]

    @property
    def message_id(self) -> str:
        return str(self.message["Message-ID"])


class Drop(Exception):
    """End the connection."""


class Session:
    """One connection, as the behaviours see it."""

    def __init__(self, server: SmtpServer, sock: socket.socket) -> None:
        self.server, self.sock = server, sock
        self.buffer = b""
        self.sender, self.recipients = "", []
        self.secure = False

    def say(self, text: str) -> None:
        self.sock.sendall(text.encode() + b"\r\n")

    def note(self, text: str) -> None:
        """Learn what is being said; a message that is accepted is remembered here."""

    def line(self) -> bytes:
        while b"\n" not in self.buffer:
            data = self.sock.recv(65536)
            if not data:
                raise Drop
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.rstrip(b"\r")

    def body(self) -> bytes:
        while not (self.buffer.startswith(b".\r\n") or b"\r\n.\r\n" in self.buffer):
            data = self.sock.recv(65536)
            if not data:
                self.server.abandoned.append(self.buffer)
                raise Drop
            self.buffer += data
        if self.buffer.startswith(b".\r\n"):
            body, self.buffer = b"", self.buffer[3:]
        else:
            body, _, self.buffer = self.buffer.partition(b"\r\n.\r\n")
            body += b"\r\n"
        return body.replace(b"\r\n..", b"\r\n.")


Behaviour = "Callable[[Session, str], None]"


def reply(text: str) -> Behaviour:
    """Answer with *text* instead of what is usual."""
    return lambda session, usual: session.say(text)


def drop(session: Session, usual: str) -> None:
    """Close the connection without an answer."""
    raise Drop


def stall(session: Session, usual: str) -> None:
    """Say nothing until the client goes away, or the test ends."""
    session.server.ended.wait(60)
    raise Drop


def drip(seconds: float) -> Behaviour:
    """Answer one byte every *seconds*."""

    def behave(session: Session, usual: str) -> None:
        session.note(usual)
        for byte in (usual + "\r\n").encode():
            session.sock.sendall(bytes([byte]))
            if session.server.ended.wait(seconds):
                raise Drop

    return behave


def slow(seconds: float) -> Behaviour:
    """Answer as usual, after *seconds*."""

    def behave(session: Session, usual: str) -> None:
        session.server.ended.wait(seconds)
        session.say(usual)

    return behave


def garbage(session: Session, usual: str) -> None:
    """Answer with something that is no SMTP reply."""
    session.sock.sendall(b"\x16\x03\x01 what?\r\n")


def usual_then_drop(session: Session, usual: str) -> None:
    """Answer as usual and close at once."""
    session.say(usual)
    raise Drop


class SmtpServer:
    """A server on a free port of loopback; use it as a context manager.

    ``on("RCPT", reply("451 later"))`` makes the next RCPT go wrong; with ``always=True``, each one.
    """

    def __init__(self, *, extensions: tuple[str, ...] = ("PIPELINING", "SIZE 10485760", "SMTPUTF8"), port: int = 0) -> None:
        self.extensions = list(extensions)
        self.accepted: list[Accepted] = []
        # What there was of messages whose client went away in the middle.
        self.abandoned: list[bytes] = []
        self.commands: list[str] = []
        self.connections = self.most_open = 0
        self.password: tuple[str, str] | None = None
        self.tls: ssl.SSLContext | None = None
        self.implicit_tls = False
        self.ended = threading.Event()
        self._once: dict[str, deque[Any]] = defaultdict(deque)
        self._always: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", port), backlog=64)
        self.port = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self.ended.set()
        # Waking accept() needs a shutdown; close() alone leaves it waiting.
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

    def on(self, stage: str, *behaviours: Any, always: bool = False) -> None:
        assert stage in STAGES
        if always:
            self._always[stage] = behaviours[0]
        else:
            self._once[stage].extend(behaviours)

    def normally(self) -> None:
        """Forget all misbehaviour."""
        self._once.clear()
        self._always.clear()

    def wait_for(self, count: int, seconds: float = 10.0) -> list[Accepted]:
        """Return what was accepted once there are *count* messages; fail when time is up."""
        end = time.monotonic() + seconds
        while len(self.accepted) < count:
            assert time.monotonic() < end, f"{len(self.accepted)} of {count} messages after {seconds} s"
            time.sleep(0.01)
        return self.accepted

    def _accept(self) -> None:
        while not self.ended.is_set():
            try:
                sock, _ = self._listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError:
                return
            with self._lock:
                self._open.add(sock)
                self.connections += 1
                self.most_open = max(self.most_open, len(self._open))
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        session = Session(self, sock)
        try:
            if self.implicit_tls:
                self._wrap(session)
            self._answer(session, "CONNECT", "220 test ESMTP")
            while True:
                self._command(session, session.line().decode("utf-8", "replace"))
        except (Drop, OSError, ValueError):
            pass
        finally:
            with self._lock:
                self._open.discard(session.sock)
                self._open.discard(sock)
            session.sock.close()

    def _wrap(self, session: Session) -> None:
        assert self.tls is not None
        raw = session.sock
        session.sock = self.tls.wrap_socket(raw, server_side=True)
        session.secure = True
        with self._lock:
            self._open.discard(raw)
            self._open.add(session.sock)

    def _answer(self, session: Session, stage: str, usual: str) -> None:
        with self._lock:
            once = self._once[stage]
            behaviour = once.popleft() if once else self._always.get(stage)
        if behaviour is None:
            session.say(usual)
        else:
            behaviour(session, usual)

    def _command(self, session: Session, line: str) -> None:
        verb = line.split(" ", 1)[0].upper()
        self.commands.append(line)
        if verb in {"EHLO", "HELO"}:
            offered = list(self.extensions) if verb == "EHLO" else []
            if verb == "EHLO" and self.tls and not session.secure:
                offered.append("STARTTLS")
            if verb == "EHLO" and self.password:
                offered.append("AUTH PLAIN LOGIN XOAUTH2")
            lines = ["test", *offered]
            self._answer(session, "EHLO", "\r\n".join(f"250{'-' if one is not lines[-1] else ' '}{one}" for one in lines))
        elif verb == "STARTTLS":
            self._answer(session, "STARTTLS", "220 2.0.0 go ahead")
            self._wrap(session)
        elif verb == "AUTH":
            self._auth(session, line)
        elif verb == "MAIL":
            session.sender, session.recipients = _path(line), []
            self._answer(session, "MAIL", "250 2.1.0 ok")
        elif verb == "RCPT":
            before = len(session.recipients)
            session.recipients.append(_path(line))
            self._answer(
                _Watched(session, lambda text: text[:1] != "2" and session.recipients.__delitem__(slice(before, None))),
                "RCPT",
                "250 2.1.5 ok",
            )
        elif verb == "DATA":
            self._data(session)
        elif verb in {"RSET", "NOOP", "QUIT"}:
            if verb == "RSET":
                session.sender, session.recipients = "", []
            self._answer(session, verb, "221 2.0.0 bye" if verb == "QUIT" else "250 2.0.0 ok")
            if verb == "QUIT":
                raise Drop
        else:
            session.say("500 5.5.2 what?")

    def _auth(self, session: Session, line: str) -> None:
        import base64

        assert self.password is not None
        words = line.split(" ")
        if words[1].upper() == "PLAIN":
            given = base64.b64decode(words[2]).decode().split("\0")[1:]
            good = tuple(given) == self.password
        else:
            good = False
        self._answer(session, "AUTH", "235 2.7.0 welcome" if good else "535 5.7.8 bad credentials")

    def _data(self, session: Session) -> None:
        if not session.recipients:
            self._answer(session, "DATA", "554 5.5.1 no valid recipients")
            return
        said: list[str] = []
        self._answer(_Watched(session, said.append), "DATA", "354 go on")
        if not said or not said[-1].startswith("354"):
            return
        body = session.body()
        accepted: list[str] = []

        def note(text: str) -> None:
            if text.startswith("250"):
                accepted.append(text)
                with self._lock:
                    self.accepted += [Accepted(session.sender, one, body) for one in session.recipients]

        watched = _Watched(session, note)
        watched.body = body
        self._answer(watched, "DOT", "250 2.0.0 accepted")
        session.sender, session.recipients = "", []


def accept_then_drop(session: Session, usual: str) -> None:
    """Accept the message, and close the connection before saying so."""
    session.note(usual)
    raise Drop


def accept_then_stall(session: Session, usual: str) -> None:
    """Accept the message, and never say so."""
    session.note(usual)
    stall(session, usual)


class _Watched:
    """A session that tells what was said."""

    def __init__(self, session: Session, note: Callable[[str], Any]) -> None:
        self._session, self.note = session, note

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def say(self, text: str) -> None:
        # Noted before it is said, so that whoever hears it finds it noted.
        self.note(text)
        self._session.say(text)


def _path(line: str) -> str:
    return line[line.index("<") + 1 : line.index(">")]
