"""Check SPF (RFC 7208): which servers may send mail for the sender's domain."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .finding import Finding, failed, ok, warning

if TYPE_CHECKING:
    from .resolver import Resolver

NAME = "spf"
# RFC 7208, 4.6.4: with more lookups the result is permerror, which DMARC counts as a failure.
MOST_LOOKUPS = 10
LOOKUP = re.compile(r"[+?~-]?(a|mx|ptr|exists:.*|include:(?P<include>.+))([:/].*)?", re.IGNORECASE)
REDIRECT = re.compile(r"redirect=(.+)", re.IGNORECASE)
ALL = re.compile(r"([+?~-]?)all", re.IGNORECASE)


class Broken(Exception):  # noqa: N818 - an answer for the operator
    """A receiver cannot evaluate the record (permerror); the message says why."""


def check_spf(domain: str, resolver: Resolver) -> Finding:
    """Return whether *domain* says which servers may send its mail; whether ours is one of them, DNS does not tell."""
    try:
        record = _record(domain, resolver)
        if record is None:
            return warning(
                NAME, f"{domain} has no SPF record", f"Add the TXT record that your provider names to {domain}: v=spf1 …"
            )
        lookups, last = _Walk(resolver).walk(domain, record)
    except Broken as error:
        return failed(NAME, str(error), "Correct the TXT record: until then receivers count SPF as failed.")
    what = f"{domain}: {record} ({lookups} of {MOST_LOOKUPS} lookups)"
    if last == "+":
        return failed(NAME, f"{what} lets everybody send mail in your name", "End the record with ~all or -all.")
    if last in {"", "?"}:
        return warning(NAME, f"{what} says nothing about other servers", "End the record with ~all or -all.")
    return ok(NAME, what)


def _record(domain: str, resolver: Resolver) -> str | None:
    # RFC 7208, 4.5: the version, and then a space or nothing.
    found = [text for text in resolver.texts(domain) if re.match(r"v=spf1( |$)", text, re.IGNORECASE)]
    if len(found) > 1:
        raise Broken(f"{domain} has {len(found)} SPF records, and only one is allowed")
    return found[0] if found else None


class _Walk:
    """Counts the lookups of a record and of those that it includes."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._lookups = 0

    def walk(self, domain: str, record: str) -> tuple[int, str]:
        """Return the number of lookups, and the qualifier of ``all``, ``+`` if it has none; empty without ``all``."""
        last, redirect = "", None
        for term in record.split()[1:]:
            if found := ALL.fullmatch(term):
                last = found[1] or "+"
            elif found := REDIRECT.fullmatch(term):
                redirect = found[1]
            elif found := LOOKUP.fullmatch(term):
                self._count(domain)
                if found["include"]:
                    self._follow(domain, found["include"])
        if redirect is not None and not last:
            self._count(domain)
            _, last = self._follow(domain, redirect)
        return self._lookups, last

    def _count(self, domain: str) -> None:
        self._lookups += 1
        if self._lookups > MOST_LOOKUPS:
            raise Broken(f"the SPF record needs more than {MOST_LOOKUPS} lookups (RFC 7208, 4.6.4), at {domain}")

    def _follow(self, domain: str, target: str) -> tuple[int, str]:
        if "%" in target:
            # A macro, which depends on the sender's address.
            return self._lookups, "?"
        record = _record(target, self._resolver)
        if record is None:
            raise Broken(f"the SPF record of {domain} names {target}, which has none")
        return self.walk(target, record)
