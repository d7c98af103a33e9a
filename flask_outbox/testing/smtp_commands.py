"""How the scripted SMTP server handles each command (RFC 5321), unless the script says otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from .smtp_session import Drop

if TYPE_CHECKING:
    import ssl

    from .smtp_session import SmtpSession


class Server(Protocol):
    """What a command needs of the server."""

    extensions: list[str]
    password: tuple[str, str] | None
    tls: ssl.SSLContext | None

    def answer(self, session: SmtpSession, stage: str, usual: str) -> None:
        """Answer as the script says, or with the *usual* reply."""

    def accept(self, session: SmtpSession) -> None:
        """Keep the message."""

    def encrypt(self, session: SmtpSession) -> None:
        """Begin TLS."""

    def is_password(self, given: str) -> bool:
        """Return whether the argument of AUTH PLAIN is right."""


def follow(server: Server, session: SmtpSession, line: str) -> None:
    """Answer one command *line*; raise Drop at the end of the connection, ValueError for a line without a path."""
    command = COMMANDS.get(line.split(" ", 1)[0].upper())
    if command is None:
        session.say("500 5.5.2 what?")
    else:
        command(server, session, line)


def _ehlo(server: Server, session: SmtpSession, line: str) -> None:
    offered = list(server.extensions)
    if server.tls and not session.is_encrypted:
        offered.append("STARTTLS")
    if server.password:
        offered.append("AUTH PLAIN LOGIN XOAUTH2")
    *lines, last = "test", *offered
    server.answer(session, "EHLO", "\r\n".join([*(f"250-{each}" for each in lines), f"250 {last}"]))


def _helo(server: Server, session: SmtpSession, line: str) -> None:
    server.answer(session, "EHLO", "250 test")


def _starttls(server: Server, session: SmtpSession, line: str) -> None:
    server.answer(session, "STARTTLS", "220 2.0.0 go ahead")
    server.encrypt(session)


def _auth(server: Server, session: SmtpSession, line: str) -> None:
    words = line.split(" ")
    is_right = words[1].upper() == "PLAIN" and server.is_password(words[2])
    server.answer(session, "AUTH", "235 2.7.0 welcome" if is_right else "535 5.7.8 bad credentials")


def _mail(server: Server, session: SmtpSession, line: str) -> None:
    session.sender, session.recipients = _path(line), []
    server.answer(session, "MAIL", "250 2.1.0 ok")


def _rcpt(server: Server, session: SmtpSession, line: str) -> None:
    # Present while it is answered, so that an answer sees it.
    session.recipients.append(_path(line))
    count = len(session.recipients)

    def note(text: str) -> None:
        if not text.startswith("2"):
            del session.recipients[count - 1 :]

    with session.noting(note):
        server.answer(session, "RCPT", "250 2.1.5 ok")


def _data(server: Server, session: SmtpSession, line: str) -> None:
    if not session.recipients:
        server.answer(session, "DATA", "554 5.5.1 no valid recipients")
        return
    replies: list[str] = []
    with session.noting(replies.append):
        server.answer(session, "DATA", "354 go on")
    if not replies or not replies[-1].startswith("354"):
        return
    session.source = session.body()

    def note(text: str) -> None:
        if text.startswith("250"):
            server.accept(session)

    with session.noting(note):
        server.answer(session, "DOT", "250 2.0.0 accepted")
    session.reset()


def _rset(server: Server, session: SmtpSession, line: str) -> None:
    session.reset()
    server.answer(session, "RSET", "250 2.0.0 ok")


def _noop(server: Server, session: SmtpSession, line: str) -> None:
    server.answer(session, "NOOP", "250 2.0.0 ok")


def _quit(server: Server, session: SmtpSession, line: str) -> None:
    server.answer(session, "QUIT", "221 2.0.0 bye")
    raise Drop


COMMANDS = {
    "EHLO": _ehlo,
    "HELO": _helo,
    "STARTTLS": _starttls,
    "AUTH": _auth,
    "MAIL": _mail,
    "RCPT": _rcpt,
    "DATA": _data,
    "RSET": _rset,
    "NOOP": _noop,
    "QUIT": _quit,
}


def _path(line: str) -> str:
    return line[line.index("<") + 1 : line.index(">")]
