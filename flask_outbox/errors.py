"""The tree of errors that this package raises, one leaf for each thing a caller can do about it.

::

    MailError
    ├── InvalidMessage      it will never work: bad address, missing template, a character no header may hold
    │   ├── BadHeader       a line break in a header; also a flask_mail.BadHeaderError
    │   └── Incomplete      no sender or no recipient; also an AssertionError, which Flask-Mail raises
    ├── Refused             the server said never (5xx); carries code and reply
    ├── Deferred            the server said not now (4xx), or the connection broke
    ├── Held                MAIL_ALLOW_TO does not name the recipient, so no server was asked
    └── Unavailable         no server to talk to: connect, TLS, login, or a server that refuses *us*
"""

from __future__ import annotations

import re

import flask_mail

# RFC 3463, 2: class "." subject "." detail, at the start of the reply's text.
ENHANCED = re.compile(r"^([245]\.\d{1,3}\.\d{1,3})\b")


def enhanced_code(reply: str) -> str | None:
    """Return the enhanced status code (RFC 3463) that *reply* begins with."""
    found = ENHANCED.match(reply)
    return found.group(1) if found else None


class MailError(Exception):
    """Any error of this package."""


class InvalidMessage(MailError):  # noqa: N818 - the name says what is wrong, as in the design
    """The message can never be sent as it is; the text names the culprit.

    Raised by ``compose``, ``enqueue``, ``send_email`` and ``mail.send``, in the caller, before anything is stored.
    """


class BadHeader(InvalidMessage, flask_mail.BadHeaderError):
    """A header holds a line break, and could inject another header; also a Flask-Mail BadHeaderError."""


class Incomplete(InvalidMessage, AssertionError):  # noqa: N818 - as above
    """The message has no sender or no recipient; also an AssertionError, so that code written for Flask-Mail catches it."""


class TransmissionError(MailError):
    """One email was not sent; a base class that carries what the server said.

    *reply* is the server's text, or a sentence of ours. *code* is the SMTP reply code, or None without a reply. If
    ``mail.send`` fails for several recipients, it raises the first error with the text of all of them.
    """

    def __init__(self, reply: str, code: int | None = None) -> None:
        self.code = code
        self.reply = reply
        super().__init__(f"{code} {reply}" if code else reply)

    @property
    def enhanced(self) -> str | None:
        """Return the enhanced status code (RFC 3463) at the start of the reply."""
        return enhanced_code(self.reply)


class Refused(TransmissionError):  # noqa: N818 - as above
    """The server will never accept this email for this recipient (5xx)."""


class Deferred(TransmissionError):  # noqa: N818 - as above
    """The server did not accept the email now (4xx), or the connection broke.

    *uncertain* is true if the message was already on its way: the server may have accepted it.
    """

    def __init__(self, reply: str, code: int | None = None, *, uncertain: bool = False) -> None:
        super().__init__(reply, code)
        self.uncertain = uncertain


class Held(TransmissionError):  # noqa: N818 - as above
    """MAIL_ALLOW_TO does not name the recipient, so the email is kept back; no server was asked."""


class Unavailable(TransmissionError):  # noqa: N818 - as above
    """No email can be sent at the moment, whichever it is.

    *ours* is true if our own configuration is the cause (login refused, sender refused, relay denied). ``over_an_email`` is true
    if the server said so in reply to an email and not while connecting: then that email may be the cause after all.
    """

    def __init__(self, reply: str, code: int | None = None, *, ours: bool = False) -> None:
        super().__init__(reply, code)
        self.ours = ours
        self.over_an_email = False
