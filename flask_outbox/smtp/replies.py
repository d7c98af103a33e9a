"""Classifies what servers say, by codes and words; no other module knows a server's wording.

A reply about the recipient or the message is Refused, one about a temporary problem is Deferred, one about us or the server is
Unavailable. The table in ``docs/delivery.md`` lists the cases, and a test checks it against this module.
"""

from __future__ import annotations

import re
import smtplib
import ssl
from typing import TYPE_CHECKING

from ..errors import Deferred, Refused, Unavailable

if TYPE_CHECKING:
    from ..errors import TransmissionError
    from .envelope import Reply

GREETING = 220
START_INPUT = 354
# "Closing transmission channel": allowed as the reply to any command (RFC 5321, 3.8).
CLOSING = 421
# Exchange Online's reply to an email over one connection too many.
TOO_MANY_CONNECTIONS = 432
TOO_LARGE = 552

# The stage at which the server answers the message itself; the other stages are named by their command.
DOT = "."

# Replies that refuse us. The stage does not show it: Postfix answers 5.7.1 at RCPT to a refused sender and to a refused recipient.
# So these are the RFC 3463 codes, the reply codes, and the words of Postfix, Exim, OpenSMTPD, Exchange and the large providers.
OUR_ENHANCED = re.compile(r"5\.1\.[78]$|5\.7\.(0|3|8|9|14|57|60|64)$")
OUR_CODES = {530, 534, 535, 538}
OUR_WORDS = re.compile(
    r"relay|authenticat|log ?in\b|limit exceeded|"
    r"sender\b.{0,60}\b(reject|refus|denied|not |unknown|invalid|verif|block)|"
    r"\b(reject|refus|denied|invalid|unknown|block)\w*\b.{0,20}\bsender\b|"
    r"not (allowed|permitted|authori[sz]ed) to send|client host .{0,80}(reject|block|denied)",
    re.IGNORECASE | re.DOTALL,
)
MAILBOX_ENHANCED = re.compile(r"5\.(1\.(0|1|2|3|4|5|6|10)|2\.\d+)$")
ADDRESS = re.compile(r"<[^>]*>|\S+@\S+")
# What differs between two replies with the same meaning: addresses, queue ids, times.
PARTICULARS = re.compile(rf"{ADDRESS.pattern}|\S*\d\S*")

SLOW_CODES = {421, 432, 450, 451, 452, 454}
SLOW_WORDS = re.compile(r"throttl|too many (concurrent )?(connections|messages)|rate\b|too (fast|quickly|frequent)", re.IGNORECASE)
CONTENT_WORDS = re.compile(r"spam|unsolicited|virus|malware|attachment|content", re.IGNORECASE)

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
    if reply.code == CLOSING:
        return Unavailable(reply.reply, CLOSING)
    if not 500 <= reply.code <= 599:  # noqa: PLR2004 - 5xx, refused for good
        return Deferred(reply.reply, reply.code)
    if _refuses_us(stage, reply):
        return Unavailable(reply.reply, reply.code, ours=True)
    return Refused(reply.reply, reply.code)


def _refuses_us(stage: str, reply: Reply) -> bool:
    enhanced = reply.enhanced or ""
    if reply.code == TOO_LARGE or enhanced.startswith("5.3.4"):
        return False
    if stage == "MAIL" or reply.code in OUR_CODES or OUR_ENHANCED.match(enhanced):
        return True
    # Without the addresses that the reply repeats: anybody may have one at relay.example.
    return not MAILBOX_ENHANCED.match(enhanced) and bool(OUR_WORDS.search(ADDRESS.sub("", reply.reply)))


def is_unclear(error: Refused) -> bool:
    """Return whether *error* may mean us instead of the recipient: the server sent it, and its code does not name the mailbox."""
    return error.code is not None and not (error.enhanced and MAILBOX_ENHANCED.match(error.enhanced))


def asks_to_slow_down(error: TransmissionError) -> bool:
    """Return whether the server takes mail, but less of it at a time: it limits the rate or the connections."""
    return error.code in SLOW_CODES and bool(SLOW_WORDS.search(error.reply))


def is_about_content(error: Refused) -> bool:
    """Return whether the server refused what the message says: spam, a virus, an attachment, its MIME structure."""
    return error.code is not None and bool((error.enhanced or "").startswith("5.6.") or CONTENT_WORDS.search(error.reply))


def wording(error: Refused) -> str:
    """Return the code and the words of a refusal, without the addresses, ids and times that differ from email to email."""
    return f"{error.code} {PARTICULARS.sub('', error.reply)}"


def wants_new_connection(error: TransmissionError) -> bool:
    """Return whether the server only asks for a new connection: 421, or OpenSMTPD's 452 4.5.3 from the 101st email on."""
    return error.code == CLOSING or (error.enhanced == "4.5.3" and not (isinstance(error, Deferred) and error.uncertain))


def cannot_connect(error: OSError | ValueError, where: str) -> Unavailable:
    """Translate an *error* of connecting to *where*, of TLS or of the login, smtplib's own included (they are OSErrors)."""
    if isinstance(error, smtplib.SMTPResponseException):
        refused = isinstance(error, smtplib.SMTPAuthenticationError) and error.smtp_code >= 500  # noqa: PLR2004 - as above
        return Unavailable(clean(error.smtp_error), error.smtp_code, ours=refused)
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
