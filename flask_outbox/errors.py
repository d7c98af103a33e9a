"""The tree of errors that the mail package raises, one leaf for each thing a caller can do about it.

::

    MailError
    ├── InvalidMessage      it will never work: bad address, line break in a header, missing template
    ├── Refused             the server said never (5xx); carries code and reply
    │   └── Held            MAIL_ALLOW_TO does not name the recipient, so it was not even tried
    ├── Deferred            the server said not now (4xx), or the line broke in the middle
    └── Unavailable         no server to talk to: connect, TLS, login, or a server that refuses *us*
"""

from __future__ import annotations

import re

# RFC 3463, 2: class "." subject "." detail, at the start of the reply's text.
ENHANCED = re.compile(r"^([245]\.\d{1,3}\.\d{1,3})\b")


class MailError(Exception):
    """Stand above every error of this package."""


class InvalidMessage(MailError):  # noqa: N818 - the name says what is wrong, as in the design
    """Say that this message can never be sent as it is, and name the culprit.

    Raised by ``compose``, ``enqueue``, ``send_email`` and ``mail.send``, in the caller, before anything is stored.
    """


class TransmissionError(MailError):
    """Carry what the server said while one email was on the wire.

    *code* is the SMTP reply code, or None where the server said nothing; *reply* is its text, or a sentence of ours.
    """

    def __init__(self, reply: str, code: int | None = None) -> None:
        self.code = code
        self.reply = reply
        super().__init__(f"{code} {reply}" if code else reply)

    @property
    def enhanced(self) -> str | None:
        """Return the enhanced status code (RFC 3463) that the reply begins with."""
        found = ENHANCED.match(self.reply)
        return found.group(1) if found else None


class Refused(TransmissionError):  # noqa: N818
    """Say that the server will never take this email for this recipient (5xx)."""


class Held(Refused):
    """Say that this site's own list (MAIL_ALLOW_TO) keeps the email back."""


class Deferred(TransmissionError):  # noqa: N818
    """Say that the server would not take it now (4xx), or that the line broke in the middle.

    *uncertain* is true where the final dot had been sent: the server may have accepted, and never told us.
    """

    def __init__(self, reply: str, code: int | None = None, *, uncertain: bool = False) -> None:
        super().__init__(reply, code)
        self.uncertain = uncertain


class Unavailable(TransmissionError):  # noqa: N818
    """Say that no email at all can be sent at the moment, through no fault of this one.

    *ours* is true where our own configuration is to blame (login refused, sender refused, relay denied). ``over_an_email``
    is true where the server said so to an email, and not to the connection: that one might be to blame after all.
    """

    def __init__(self, reply: str, code: int | None = None, *, ours: bool = False) -> None:
        super().__init__(reply, code)
        self.ours = ours
        self.over_an_email = False
