"""Parse one email address, and write it into a header or an envelope."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email

from ..errors import InvalidMessage
from .header import LINE, encoded_words, is_text, reject_controls

# RFC 5322, 3.2.3: the characters of a display name that needs no quotes.
PLAIN_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")
# A longer name is written as encoded words, which can be folded between any two characters.
LONGEST_PLAIN_NAME = 60
# If name and address together are longer, the address goes on a line of its own.
LONGEST_MAILBOX = 62

# One of several addresses: a comma in quotes or in angle brackets belongs to it.
LISTED = re.compile(r'(?:"(?:[^"\\]|\\.)*"|<[^>]*>|[^,])+')

# RFC 6761 reserves them, but a server of one's own may well deliver to root@localhost or scanner@printer.local.
PRIVATE_DOMAIN = re.compile(rf"[@.](?:{'|'.join(map(re.escape, SPECIAL_USE_DOMAIN_NAMES))})$", re.IGNORECASE)
# Behind a private domain this makes a name that email-validator judges by its syntax alone.
PUBLIC_SUFFIX = ".example"

# RFC 5321, 4.5.3.1: 64 for the local part, the @, 255 for the domain; and some room for spaces around it.
LONGEST_ADDRESS = 400

# What a caller may pass: "a@b.example", "Name <a@b.example>" or ("Name", "a@b.example").
AddressLike = str | tuple[str, str]


@dataclass(frozen=True, slots=True)
class Address:
    """A valid address: a display name (may be empty), a local part, and a domain in its ASCII form."""

    name: str
    local: str
    domain: str

    @property
    def envelope(self) -> str:
        """Return the address for MAIL FROM and RCPT TO, without angle brackets."""
        return f"{self.local}@{self.domain}"

    def header(self, header_name: str) -> str:
        """Return the address for the header *header_name*, folded if it is long."""
        if not self.name:
            return self.envelope
        used = len(header_name) + 2
        name = self._phrase(used)
        # The space and the angle brackets are three characters.
        space = " " if len(name) + len(self.envelope) <= min(LONGEST_MAILBOX, LINE - used - 3) else "\r\n "
        return f"{name}{space}<{self.envelope}>"

    def _phrase(self, used: int) -> str:
        """Return the display name: plain, quoted or encoded; its line already has *used* characters."""
        name = self.name
        if not name.isascii() or "=?" in name or len(name) > LONGEST_PLAIN_NAME:
            return encoded_words(name, used=used)
        if PLAIN_NAME.fullmatch(name) and "  " not in name:
            return name
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{quoted}"'


def parse(value: AddressLike | Address, field: str) -> Address:
    """Parse ``"a@b.example"``, ``"Name <a@b.example>"`` or ``("Name", "a@b.example")``; an Address is returned unchanged.

    Raises InvalidMessage for anything else, with the name of the *field* in its text.
    """
    if isinstance(value, Address):
        return value
    if isinstance(value, str):
        reject_controls(value, field)
        name, spec = _split(value, field)
    elif isinstance(value, tuple) and len(value) == 2 and all(map(is_text, value)):  # noqa: PLR2004 - a pair
        name, spec = map(str, value)
        reject_controls(name, f"the name in {field}")
        reject_controls(spec, field)
    else:
        message = f"{field} is {value!r:.100}: give one address as 'a@b.example', 'Name <a@b.example>' or ('Name', 'a@b.example')"
        raise InvalidMessage(message)
    local, domain = _check(spec.strip(), field)
    return Address(name.strip(), local, domain)


def parse_list(value: str, field: str) -> list[Address]:
    """Parse one or several addresses with commas between them, as a header holds them."""
    reject_controls(value, field)
    return [parse(found.group(), field) for found in LISTED.finditer(value) if found.group().strip()]


def _split(value: str, field: str) -> tuple[str, str]:
    text = value.strip()
    if not text.endswith(">") or "<" not in text:
        return "", text
    name, _, spec = text[:-1].rpartition("<")
    name = name.strip()
    if len(name) > 1 and name[0] == name[-1] == '"':
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    elif set(name) & set("<>") or ("," in name and "@" in name):
        message = f"{field} is {value!r:.100}, which looks like several addresses: give one at a time"
        raise InvalidMessage(message)
    return name, spec


@lru_cache(maxsize=4096)
def _check(spec: str, field: str) -> tuple[str, str]:
    """Return the local part and the domain of *spec*, if email-validator accepts its syntax.

    It does not query DNS: the SMTP server decides whether a domain accepts mail. The cache helps with senders, which rarely differ.
    """
    if len(spec) > LONGEST_ADDRESS:
        message = f"{field} {spec!r:.100} is not an email address: it has {len(spec)} characters"
        raise InvalidMessage(message)
    suffix = PUBLIC_SUFFIX if PRIVATE_DOMAIN.search(spec) else ""
    try:
        valid = validate_email(spec + suffix, check_deliverability=False, globally_deliverable=False)
    except EmailNotValidError as error:
        message = f"{field} {spec!r:.100} is not an email address: {error}"
        raise InvalidMessage(message) from error
    if valid.ascii_domain is None:  # pragma: no cover - email-validator sets it for every name; None is a domain literal
        message = f"{field} {spec!r:.100} has no domain name"
        raise InvalidMessage(message)
    return valid.local_part, valid.ascii_domain.removesuffix(suffix)
