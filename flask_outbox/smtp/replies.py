"""Turns what a server says into one of our errors, and answers questions about such an error.

A reply about the recipient or the message is Refused, one about a temporary problem is Deferred, one about us or the server is
Unavailable. Whose matter a reply is, ``matters.py`` knows. A test plays the table in ``docs/delivery.md`` to both.
"""

from __future__ import annotations

import re
import smtplib
import ssl
from typing import TYPE_CHECKING

from ..errors import Deferred, Refused, Unavailable
from .envelope import Reply
from .matters import ADDRESS, EXIM, EXIM_LIMIT, OUT_OF_ORDER, PER_CONNECTION, Matter, matter_of

if TYPE_CHECKING:
    from ..errors import TransmissionError

GREETING = 220
START_INPUT = 354
# "Closing transmission channel": allowed as the reply to any command (RFC 5321, 3.8).
CLOSING = 421
# Exchange Online's reply to an email over one connection too many.
TOO_MANY_CONNECTIONS = 432

# The stage at which the server answers the message itself; the other stages are named by their command.
DOT = "."

# What differs between two replies with the same meaning: addresses, queue ids, times.
PARTICULARS = re.compile(rf"{ADDRESS.pattern}|\S*\d\S*")

# Which command smtplib's errors answer.
STAGES = {smtplib.SMTPConnectError: "CONNECT", smtplib.SMTPHeloError: "EHLO", smtplib.SMTPAuthenticationError: "AUTH"}

# Longest reply to store, in characters.
LONGEST_REPLY = 1000


def is_positive(code: int) -> bool:
    """Return whether *code* is 2xx: the command was carried out (RFC 5321, 4.2.1)."""
    return 200 <= code <= 299  # noqa: PLR2004 - its two ends


def goes_on(stage: str, reply: Reply) -> bool:
    """Return whether the transaction goes on after *reply*: DATA needs a 354, every other stage a 2xx."""
    # Not by is_positive(), because this is called for every reply.
    return reply.code == START_INPUT if stage == "DATA" else 200 <= reply.code <= 299  # noqa: PLR2004 - as above


def verdict(stage: str, reply: Reply) -> Refused | Deferred | Unavailable:
    """Return the error for a negative *reply*: Refused, Deferred or Unavailable.

    *stage* is the verb of the command that the server answers, or DOT.
    """
    matter = matter_of(stage, reply.code, reply.reply)
    if matter is Matter.OURS or reply.code == CLOSING:
        return Unavailable(reply.reply, reply.code, ours=matter is Matter.OURS)
    if 500 <= reply.code <= 599:  # noqa: PLR2004 - 5xx, refused for good
        return Refused(reply.reply, reply.code)
    return Deferred(reply.reply, reply.code)


def cannot_talk(stage: str, reply: Reply) -> Unavailable:
    """Return the error for a negative *reply* before the first email: to CONNECT, EHLO, STARTTLS or AUTH."""
    return Unavailable(reply.reply, reply.code, ours=matter_of(stage, reply.code, reply.reply) is Matter.OURS)


def is_unclear(error: Refused) -> bool:
    """Return whether *error* may mean us instead of this email: the server sent it, and it names neither a mailbox nor a size.

    A message refused for its content is unclear too: if the server refuses all of them alike, it may mean us.
    """
    return _matter(error) in {Matter.UNCLEAR, Matter.CONTENT}


def is_about_content(error: Refused) -> bool:
    """Return whether the server refused what the message says: spam, a virus, an attachment, its structure."""
    return _matter(error) is Matter.CONTENT


def asks_to_slow_down(error: TransmissionError) -> bool:
    """Return whether the server takes mail, but not at this rate or over so many connections."""
    return _matter(error) in {Matter.THROTTLED, Matter.CONNECTIONS}


def _matter(error: TransmissionError) -> Matter | None:
    """Return whose matter an *error* is that ``verdict`` has made of a reply; None if no server has replied."""
    return None if error.code is None else matter_of("", error.code, error.reply)


def wording(error: Refused) -> str:
    """Return the code and the words of a refusal, without the addresses, ids and times that differ from email to email."""
    return f"{error.code} {PARTICULARS.sub('', error.reply)}"


def wants_new_connection(error: TransmissionError) -> bool:
    """Return whether the server only asks for a new connection: 421, OpenSMTPD's 452 4.5.3 from the 101st email on, or words."""
    if error.code is None or (isinstance(error, Deferred) and error.uncertain):
        return False
    return error.code == CLOSING or error.enhanced == "4.5.3" or bool(PER_CONNECTION.search(error.reply))


def is_about_order(reply: Reply) -> bool:
    """Return whether the server was surprised by a command that is in order: unknown, not implemented, or out of sequence.

    Haraka says 503 to each command that arrives behind a final dot, although it offers PIPELINING.
    """
    return reply.code in OUT_OF_ORDER


def emails_per_connection(greeting: str) -> int | None:
    """Return how many emails a server with this *greeting* takes over one connection as it should, or None for no limit.

    From the eleventh on Exim only queues, until its next queue run (smtp_accept_queue_per_connection, by default 10).
    """
    return EXIM_LIMIT if EXIM.search(greeting) else None


def cannot_connect(error: OSError | ValueError, where: str) -> Unavailable:
    """Translate an *error* of connecting to *where*, of TLS or of the login, smtplib's own included (they are OSErrors)."""
    if isinstance(error, smtplib.SMTPResponseException):
        return cannot_talk(STAGES.get(type(error), "STARTTLS"), Reply(error.smtp_code, clean(error.smtp_error)))
    ours = isinstance(error, ssl.SSLCertVerificationError | smtplib.SMTPNotSupportedError)
    why = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else error
    return Unavailable(f"cannot use {where}: {clean(str(why))}", ours=ours)


def clean(raw: bytes | str) -> str:
    """Return a reply's text on one line, printable and no longer than LONGEST_REPLY: it goes into logs and terminals."""
    words = raw if isinstance(raw, str) else raw.decode("utf-8", "replace")
    text = " ".join(words.split())
    if text.isprintable():
        return text[:LONGEST_REPLY]
    return "".join(character if character.isprintable() else "?" for character in text)[:LONGEST_REPLY]
