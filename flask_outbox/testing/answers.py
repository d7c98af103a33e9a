"""Answers for the scripted SMTP server: ``server.on("RCPT", reply("451 later"))``.

An answer is a function of the connection and of the usual reply, so you can write your own::

    def refuse_strangers(session, usual):
        session.say(usual if session.recipients[-1].endswith("@example.com") else "550 5.1.1 no such user")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .smtp_session import Drop

if TYPE_CHECKING:
    from collections.abc import Callable

    from .smtp_session import SmtpSession

    Answer = Callable[[SmtpSession, str], None]

# Longer than any client waits, in seconds.
STALL = 60.0


def reply(text: str) -> Answer:
    """Answer with *text*, such as ``550 5.1.1 no such user``, instead of the usual reply."""

    def answer(session: SmtpSession, usual: str) -> None:
        session.say(text)

    return answer


def slow(seconds: float) -> Answer:
    """Give the usual reply after *seconds*."""

    def answer(session: SmtpSession, usual: str) -> None:
        session.wait(seconds)
        session.say(usual)

    return answer


def drip(seconds: float) -> Answer:
    """Give the usual reply one byte at a time, with *seconds* after each."""

    def answer(session: SmtpSession, usual: str) -> None:
        session.note(usual)
        for byte in f"{usual}\r\n".encode():
            session.sock.sendall(bytes([byte]))
            if session.wait(seconds):
                raise Drop

    return answer


def drop(session: SmtpSession, usual: str) -> None:
    """Close the connection without a reply."""
    raise Drop


def stall(session: SmtpSession, usual: str) -> None:
    """Send nothing and keep the connection open, for a minute or until the server is stopped."""
    session.wait(STALL)
    raise Drop


def garbage(session: SmtpSession, usual: str) -> None:
    """Answer with bytes that are no SMTP reply."""
    session.sock.sendall(b"\x16\x03\x01 what?\r\n")


def usual_then_drop(session: SmtpSession, usual: str) -> None:
    """Give the usual reply and close the connection."""
    session.say(usual)
    raise Drop


def accept_then_drop(session: SmtpSession, usual: str) -> None:
    """For the stage DOT: accept the message, and close the connection before the client gets the reply."""
    session.note(usual)
    raise Drop


def accept_then_stall(session: SmtpSession, usual: str) -> None:
    """For the stage DOT: accept the message, and never send the reply."""
    session.note(usual)
    stall(session, usual)


def refuse_pipelined(session: SmtpSession, usual: str) -> None:
    """Give the usual reply, and answer 503 to each command that has arrived with the current one; Haraka does so at DOT."""
    session.say(usual)
    for _ in session.take_waiting():
        session.say_unasked("503 Bad sequence of commands - pipelined after end of DATA")
