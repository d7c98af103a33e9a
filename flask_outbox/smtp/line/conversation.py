"""One email over one connection: envelope, message, and the reply that becomes one of our errors.

smtplib spends a round trip on each command. RFC 2920 (PIPELINING) allows MAIL, RCPT and DATA in one write, and even the next
envelope in the same write as the message before it: then an email costs one round trip. A server that does not bear that gets the
next commands when it has accepted the message, and works on them while the caller records the acceptance.
"""

from __future__ import annotations

import smtplib
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from ...errors import Deferred, Refused, Unavailable
from ..envelope import Reply
from ..habits import Way
from ..replies import CLOSING, DOT, START_INPUT, clean, goes_on, is_about_order, verdict
from .connection import SmtpConnection, no_guard
from .debug import note_commands, note_message

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from ..envelope import Envelope
    from ..habits import Habits

# How many times the usual timeout to wait for the reply to the final dot: five minutes by default. RFC 5321, 4.5.3.2.6 asks
# for ten, because giving up early makes a second copy.
DOT_TIMEOUT_FACTOR = 10


class Refusal(NamedTuple):
    """The command that the server refuses, by its verb, and what it says."""

    stage: str
    reply: Reply


class Announced(NamedTuple):
    """An envelope that is written already, up to DATA or (one command at a time) up to MAIL; its replies are still to be read."""

    email: Envelope
    way: Way
    commands: list[str]

    @property
    def written(self) -> int:
        """Return how many of its commands are written."""
        return 1 if self.way is Way.SINGLE else len(self.commands)


class Conversation(SmtpConnection):
    """A connection over which ``transmit`` sends one email to one recipient at a time.

    What it learns of the server goes to *habits*; the other arguments are those of ``SmtpConnection``.
    """

    def __init__(self, timeout: float, habits: Habits, implicit_tls: ssl.SSLContext | None = None, ehlo_name: str = "") -> None:
        # The server may still have a refused transaction open.
        self._dirty = False
        self._announced: Announced | None = None
        self.transmitted = 0
        super().__init__(timeout, habits, implicit_tls, ehlo_name)

    @property
    def is_alive(self) -> bool:
        """Return whether the connection can be used again; with an envelope announced, its replies will show."""
        if self._announced is not None:
            return self.sock is not None
        return super().is_alive

    @property
    def _way(self) -> Way:
        return self._habits.way if "pipelining" in self.esmtp_features else Way.SINGLE

    def leave(self) -> None:
        """Say QUIT and close.

        With an envelope announced, only close: the server waits for a message, and would read QUIT as its first line.
        """
        if self._announced is None:
            super().leave()
        else:
            self.close()

    def transmit(self, email: Envelope, following: Envelope | None = None, *, guard: Callable[[], None] = no_guard) -> Reply:
        """Send *email* and return the reply that accepts it.

        As much of the envelope of *following* as the server allows goes out behind the message. The next call must be for
        *following* then; for any other email the connection is closed. *guard* is called before each write and while waiting. An
        error that it raises closes the connection, so that an email whose lease is lost cannot go out.

        Raises Refused, Deferred or Unavailable; smtplib.SMTPServerDisconnected if the connection broke before
        the message was on its way: then the caller may try again over a new connection.
        """
        # An announced envelope was checked when it was written.
        misfit = self._misfit(email) if self._announced is None else None
        if misfit is not None:
            raise misfit
        self._guard = guard
        try:
            self._begin(email)
            return self._send_message(email.source, following)
        except BaseException:
            # After an unexpected error the state of the conversation is unknown.
            if not self._dirty:
                self.close()
            raise
        finally:
            self._guard = no_guard
            self._reply_timeout = self.timeout

    def _misfit(self, email: Envelope) -> Refused | None:
        """Return why the server cannot take *email*, judging by its extensions; without a code, because it has not refused it."""
        limit, size = self.esmtp_features.get("size", ""), len(email.source)
        if limit.isdigit() and 0 < int(limit) < size:
            return Refused(f"5.3.4 the message has {size} bytes, the server takes {limit} at most")
        if email.needs_smtputf8 and not self.has_extn("smtputf8"):
            return Refused("5.6.7 an address has letters beyond ASCII before the @, and the server does not offer SMTPUTF8")
        return None

    def _commands(self, email: Envelope) -> list[str]:
        options = f" SIZE={len(email.source)}" if "size" in self.esmtp_features else ""
        options += " SMTPUTF8" if email.needs_smtputf8 else ""
        return [f"MAIL FROM:<{email.sender}>{options}", f"RCPT TO:<{email.recipient}>", "DATA"]

    def _begin(self, email: Envelope) -> None:
        """Open the transaction of *email*, which may be announced already, or raise why the server does not take it."""
        announced, self._announced = self._announced, None
        if announced is not None and announced.email != email:
            self._break("the server waits for another message")
        way = announced.way if announced else self._way
        commands = announced.commands if announced else self._commands(email)
        refusal = self._read_announced(announced) if announced else self._ask(commands, way)
        while refusal is not None and self.sock is not None and way > Way.SINGLE and is_about_order(refusal.reply):
            # Nothing has happened to this email. The same, with fewer commands at a time, shows what the server means.
            way = Way(way - 1)
            refusal = self._ask(commands, way)
            if refusal is None:
                self._habits.note_way(way)
        if refusal is not None:
            raise verdict(refusal.stage, refusal.reply)

    def _read_announced(self, announced: Announced) -> Refusal | None:
        """Read the replies to an envelope that is announced, and learn from them."""
        is_behind = announced.way is Way.BEHIND
        try:
            refusal = self._ask(announced.commands, announced.way, announced.written)
            if refusal is not None and self.sock is None and is_about_order(refusal.reply):
                self._break("the server has lost the order of the commands")
        except (smtplib.SMTPServerDisconnected, Unavailable):
            if is_behind:
                self._habits.note_behind(is_broken=True)
            raise
        if is_behind:
            self._habits.note_behind(is_broken=False)
        return refusal

    def _ask(self, commands: list[str], way: Way, written: int = 0) -> Refusal | None:
        """Send *commands*, the first *written* of which are sent already; return what the server refuses, if anything."""
        if self._dirty:
            # Without RSET this recipient would be added to the refused transaction, if it is still open.
            commands = ["RSET", *commands]
            self._dirty = False
        replies = self._one_by_one(commands, written) if way is Way.SINGLE else self._all_at_once(commands, written)
        for command, reply in zip(commands, replies, strict=False):
            if goes_on(command, reply):
                continue
            if command == "RSET":
                self._break("the server refused RSET")
            self._dirty = True
            if replies[-1].code == START_INPUT:
                # The server waits for a message nevertheless. Only closing helps: Postfix and Exim queue an empty email after a
                # lone dot.
                self.close()
            return Refusal(_verb(command), reply)
        return None

    def _all_at_once(self, commands: list[str], written: int) -> list[Reply]:
        if not written:
            note_commands(*commands)
            self.send(_lines(commands))
        return self._replies(commands)

    def _replies(self, commands: list[str]) -> list[Reply]:
        replies: list[Reply] = []
        try:
            for command in commands:
                replies.append(self._reply(command))  # noqa: PERF401 - a failed read must not lose the replies before it
        except (smtplib.SMTPServerDisconnected, Unavailable):
            # Some servers refuse and hang up (Exim's "drop"): then the refusal counts.
            if all(map(goes_on, commands, replies)):
                raise
        return replies

    def _one_by_one(self, commands: list[str], written: int) -> list[Reply]:
        replies: list[Reply] = []
        for number, command in enumerate(commands):
            if number >= written:
                note_commands(command)
                self.send(_lines([command]))
            replies.append(self._reply(command))
            if not goes_on(command, replies[-1]):
                break
        return replies

    def _reply(self, command: str) -> Reply:
        """Read the reply to *command*; raise Unavailable for a 421, after which the server hangs up."""
        code, text = self.getreply()
        reply = Reply(code, clean(text))
        if code == CLOSING:
            self.close()
            raise verdict(_verb(command), reply)
        return reply

    def _send_message(self, source: bytes, following: Envelope | None) -> Reply:
        """Send the message with its final dot, and the envelope of *following* behind it; return the acceptance."""
        if self._received:
            self._break("the server sent an unexpected reply")
        # RFC 5321, 4.5.2: a dot at the beginning of a line is doubled.
        data = source.replace(b"\r\n.", b"\r\n..")
        data += b".\r\n" if data.endswith(b"\r\n") else b"\r\n.\r\n"
        note_message(len(data))
        announced = None
        if following is not None and not self._misfit(following):
            announced = Announced(following, self._way, self._commands(following))
        is_behind = announced is not None and announced.way is Way.BEHIND
        if announced is not None and is_behind:
            # RFC 2920, 3.1: more commands may follow the final dot at once.
            note_commands(*announced.commands)
            data += _lines(announced.commands)
        try:
            self.send(data)
            self._reply_timeout, self._may_poll = self.timeout * DOT_TIMEOUT_FACTOR, is_behind
            reply = self._reply(DOT)
        except (smtplib.SMTPException, OSError) as error:
            # Uncertain even after a partial write: only the server knows how much it received.
            raise Deferred(f"{error} (after the message was on its way)", uncertain=True) from error
        finally:
            self._may_poll = False
        self.transmitted += 1
        if not goes_on(DOT, reply):
            self._dirty = True
            if is_behind:
                # Servers disagree about the replies to an envelope behind a refused message, so do not wait for them.
                self.close()
            raise verdict(DOT, reply)
        if announced is not None:
            self._announce(announced)
        return reply

    def _announce(self, announced: Announced) -> None:
        """Write as much of the next envelope as the server takes now, unless it is written already; never raises."""
        if announced.way is not Way.BEHIND:
            if self._received:
                return
            # The message is accepted, and no guard may raise before the caller knows it: these commands transmit no message.
            self._guard = no_guard
            commands = announced.commands[: announced.written]
            note_commands(*commands)
            with suppress(smtplib.SMTPServerDisconnected):
                self.send(_lines(commands))
        self._announced = announced


def _lines(commands: list[str]) -> bytes:
    return "".join(f"{command}\r\n" for command in commands).encode()


def _verb(command: str) -> str:
    return command.partition(" ")[0]
