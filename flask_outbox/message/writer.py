"""Write a flask_mail.Message as the bytes that are sent, by RFC 5322, 2045, 2046, 2047 and 2231.

Flask-Mail's ``as_bytes()`` allows header injection and corrupts non-ASCII text, and the standard library's generator is forty times
slower. All lines are 7-bit clean, so no server needs 8BITMIME. The one exception is an address with a non-ASCII local part, which
needs SMTPUTF8.
"""

from __future__ import annotations

import codecs
import re
import secrets
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

from ..errors import Incomplete, InvalidMessage
from . import address
from .body import as_headers, write_body
from .header import as_text, field, fold, unfold

if TYPE_CHECKING:
    from flask_mail import Message

    from .address import Address, AddressLike

# RFC 5322, 3.6.4: words with dots between them on both sides; without quoted strings, which some servers refuse.
MESSAGE_ID = re.compile(r"<[\w!#$%&'*+/=?^`{|}~-]+(\.[\w!#$%&'*+/=?^`{|}~-]+)*@[\w-]+(\.[\w-]+)*>", re.ASCII)
LONGEST_MESSAGE_ID = 250
EPOCH = datetime.fromtimestamp(0, UTC)
# RFC 5322, 3.6.3 and 3.4: the usual To for a message with Bcc alone; without To or Cc some filters take a message for spam.
NO_VISIBLE_RECIPIENT = "To: undisclosed-recipients:;\r\n"
# Headers that Message has an argument for, and headers that the writer makes.
OWN_HEADERS = {
    "from",
    "to",
    "cc",
    "bcc",
    "subject",
    "reply-to",
    "date",
    "resent-bcc",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
}
# They name addresses, which are encoded differently from text: RFC 5322, 3.6; RFC 8098, 2.1; and headers of common use.
ADDRESSES = re.compile(
    r"(resent-)?(sender|from|to|cc|reply-to)|disposition-notification-to|return-receipt-to|x-confirm-reading-to|errors-to"
    r"|mail-followup-to|mail-reply-to",
    re.IGNORECASE,
)
# RFC 5322, 3.6.2: one address, and no list.
ONE_ADDRESS = re.compile(r"(resent-)?sender", re.IGNORECASE)
# What Flask-Mail's mail_options may hold, because the library sends it by itself where the server wants it.
OWN_OPTIONS = re.compile(r"SMTPUTF8|BODY=(8BITMIME|7BIT)|SIZE=\d+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class WrittenMessage:
    """A message as it is sent: its bytes in *source*, and the addresses of its envelopes.

    *sender* is the address of MAIL FROM, which gets the bounces.
    """

    source: bytes
    sender: Address
    recipients: tuple[Address, ...]
    subject: str
    message_id: str


def write(message: Message, *, send_at: datetime | None = None, envelope_from: AddressLike | None = None) -> WrittenMessage:
    """Write *message*; raise InvalidMessage, with the name of the field, if it could never be sent.

    Its Date, unless it has one, is the moment it goes out: *send_at*, or now. *envelope_from* gets the bounces instead of the
    sender.
    """
    if not message.sender:
        text = "the message has no sender: pass sender=, or set MAIL_DEFAULT_SENDER"
        raise Incomplete(text)
    sender = address.parse(message.sender, "sender")
    to, cc, bcc = (_parse_all(message, group) for group in ("recipients", "cc", "bcc"))
    recipients = {recipient.envelope: recipient for recipient in [*to, *cc, *bcc]}
    if not recipients:
        text = "the message has no recipient: give it at least one in recipients, cc or bcc"
        raise Incomplete(text)
    subject = "" if message.subject is None else unfold(as_text(message.subject, "the subject"))
    extra = as_headers(message.extra_headers, "extra_headers")
    message_id = _message_id(extra, sender)
    _check_options(message)
    body = write_body(message)
    head = [
        _addresses("From", [sender]),
        _addresses("To", to) if to or cc else NO_VISIBLE_RECIPIENT,
        _addresses("Cc", cc),
        _addresses("Reply-To", _reply_to(message.reply_to)),
        field("Subject", subject) if subject else "",
        f"Date: {_date(message.date, send_at)}\r\n",
        f"Message-ID: {message_id}\r\n",
        *_extra(extra),
        "MIME-Version: 1.0\r\n",
        body.head,
        "\r\n",
    ]
    bounces = address.parse(envelope_from, "envelope_from") if envelope_from else sender
    return WrittenMessage("".join(head).encode() + body.content, bounces, tuple(recipients.values()), subject, message_id)


def _parse_all(message: Message, group: str) -> list[Address]:
    """Return the addresses of a *group* of recipients: ``recipients``, ``cc`` or ``bcc``."""
    given = getattr(message, group)
    if given is None:
        return []
    # A generator would be empty when it is read again, and a string is a collection of letters.
    if isinstance(given, str | bytes) or not isinstance(given, Collection):
        text = f"{group} is {type(given).__name__}: give a list of addresses"
        raise InvalidMessage(text)
    return [address.parse(recipient, group.removesuffix("s")) for recipient in given]


def _reply_to(given: Any) -> list[Address]:
    """Return the addresses for replies, from None, one address or a list of them."""
    if not given:
        return []
    return [address.parse(value, "reply_to") for value in (given if isinstance(given, list) else [given])]


def _check_options(message: Message) -> None:
    """Raise InvalidMessage for an argument of Flask-Mail's Message that this library does not support."""
    if message.charset and not _is_utf8(message.charset):
        text = f"the charset is {message.charset!r:.100}: every message is UTF-8, which all mail readers understand. Leave it out"
        raise InvalidMessage(text)
    refused = [option for option in message.mail_options or () if not OWN_OPTIONS.fullmatch(str(option))]
    for name, options in (("mail_options", refused), ("rcpt_options", message.rcpt_options)):
        if options:
            text = f"{name} holds {options[0]!r:.100}, which is not supported: the library itself chooses the options for SMTP"
            raise InvalidMessage(text)


def _is_utf8(charset: str) -> bool:
    """Return whether *charset* is UTF-8 or a part of it."""
    try:
        return codecs.lookup(charset).name in {"utf-8", "ascii"}
    except (LookupError, TypeError):
        return False


def _date(seconds: float | None, send_at: datetime | None) -> str:
    text = f"the date is {seconds!r:.100}: give seconds since 1970, as time.time() does"
    try:
        now = datetime.now(UTC)
        moment = max(send_at or now, now) if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (TypeError, ValueError, OverflowError, OSError) as error:
        raise InvalidMessage(text) from error
    if moment < EPOCH:
        # Some readers cannot show an earlier time.
        raise InvalidMessage(text)
    return format_datetime(moment)


def _message_id(extra: dict[str, str], sender: Address) -> str:
    name = next((name for name in extra if name.lower() == "message-id"), None)
    if name is None:
        return f"<{time.time_ns():x}.{secrets.token_hex(8)}@{sender.domain}>"
    given = extra.pop(name)
    if not MESSAGE_ID.fullmatch(given) or len(given) > LONGEST_MESSAGE_ID:
        text = (
            f"the header Message-ID is {given!r:.100}: it has to look like <something@a.domain>, in {LONGEST_MESSAGE_ID} characters"
        )
        raise InvalidMessage(text)
    return given


def _addresses(name: str, people: list[Address]) -> str:
    if not people:
        return ""
    words = [person.header(name) for person in people]
    return f"{name}: {fold([f'{word},' for word in words[:-1]] + words[-1:], len(name) + 2)}\r\n"


def _extra(extra: dict[str, str]) -> list[str]:
    names = {name.lower() for name in extra}
    taken = sorted(names & OWN_HEADERS)
    if taken:
        text = f"extra_headers holds {', '.join(taken)}: use the message's own arguments for that (no header ever holds a Bcc)"
        raise InvalidMessage(text)
    if "return-path" in names:
        text = "extra_headers holds Return-Path, which the recipient's server writes: hand envelope_from to enqueue instead"
        raise InvalidMessage(text)
    # RFC 3834, 5: vacation replies do not answer such a message.
    automatic = [] if "auto-submitted" in names else ["Auto-Submitted: auto-generated\r\n"]
    return automatic + [_header(name, value) for name, value in extra.items()]


def _header(name: str, value: str) -> str:
    if not ADDRESSES.fullmatch(name):
        return field(name, value)
    people = address.parse_list(value, f"the header {name}")
    if not people or (len(people) > 1 and ONE_ADDRESS.fullmatch(name)):
        text = f"the header {name} holds {len(people)} addresses: give it one"
        raise InvalidMessage(text)
    return _addresses(name, people)
