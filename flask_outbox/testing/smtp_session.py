"""One connection to the scripted SMTP server: reading lines and messages, sending replies."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    import threading
    from collections.abc import Callable, Iterator


class Drop(Exception):  # noqa: N818 - an instruction, not an error
    """Raise it in an answer to close the connection."""


class SmtpSession:
    """One connection, as an answer sees it.

    ``sender`` and ``recipients`` are the envelope so far, ``source`` the message that is answered at the stage DOT, ``sock``
    the socket itself, for answers that break the protocol.
    """

    def __init__(self, sock: socket.socket, ended: threading.Event, abandoned: list[bytes]) -> None:
        self.sock = sock
        self.sender = ""
        self.recipients: list[str] = []
        self.source = b""
        self.is_encrypted = False
        self._ended, self._abandoned = ended, abandoned
        self._buffer = b""
        self._note: Callable[[str], None] | None = None

    def say(self, text: str) -> None:
        """Send *text* as the reply to the command; the server acts on its code."""
        # Before sending, so that a client with the reply finds the message accepted.
        self.note(text)
        self.say_unasked(text)

    def say_unasked(self, text: str) -> None:
        """Send *text* as a line that is no reply: the client reads it, and the server does not act on it."""
        self.sock.sendall(f"{text}\r\n".encode())

    def note(self, text: str) -> None:
        """Let the server act as if *text* were the reply, and send nothing."""
        if self._note is not None:
            self._note(text)

    def wait(self, seconds: float) -> bool:
        """Sleep for *seconds*; return True, at once, if the server is stopped meanwhile."""
        return self._ended.wait(seconds)

    @contextmanager
    def noting(self, note: Callable[[str], None] | None) -> Iterator[None]:
        """Call *note* with what is replied inside the block."""
        self._note = note
        try:
            yield
        finally:
            self._note = None

    def reset(self) -> None:
        """Forget the envelope."""
        self.sender, self.recipients = "", []

    def line(self) -> bytes:
        """Return the next line from the client, without its end."""
        while b"\n" not in self._buffer:
            self._read()
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.rstrip(b"\r")

    def take_waiting(self) -> list[bytes]:
        """Take everything that has arrived beyond the current command, as a server does that drops it; return its whole lines."""
        *lines, _ = self._buffer.split(b"\n")
        self._buffer = b""
        return lines

    def body(self) -> bytes:
        """Return what the client sends up to the lone dot, with doubled dots undone."""
        while not (self._buffer.startswith(b".\r\n") or b"\r\n.\r\n" in self._buffer):
            try:
                self._read()
            except Drop:
                self._abandoned.append(self._buffer)
                raise
        if self._buffer.startswith(b".\r\n"):
            self._buffer = self._buffer[3:]
            return b""
        body, _, self._buffer = self._buffer.partition(b"\r\n.\r\n")
        return (body + b"\r\n").replace(b"\r\n..", b"\r\n.")

    def _read(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise Drop
        self._buffer += data
