"""Check DMARC (RFC 9989): what receivers do with mail that passes neither SPF nor DKIM for the sender's domain.

The record is found by walking up the DNS tree from the domain, without a list of public suffixes, unlike in RFC 7489.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from .finding import Finding, failed, ok, warning
from .tags import read_tags

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .resolver import Resolver

NAME = "dmarc"
VERSION = re.compile(r"\s*v\s*=\s*DMARC1\s*(;|$)")
# RFC 9989, 4.10: a walk takes eight questions at most. A longer name skips from itself to its last seven labels.
MOST_LABELS = 8
POLICIES = ("none", "quarantine", "reject")


class Record(NamedTuple):
    """The DMARC record of a *domain*, as *tags*."""

    domain: str
    tags: dict[str, str]


def check_dmarc(domain: str, resolver: Resolver) -> Finding:
    """Return which policy receivers apply to mail from *domain*."""
    walked = list(walk(domain, resolver))
    found = discover(domain, walked)
    if found is None:
        if any(len(records) > 1 for _, records in walked):
            what = f"{domain} has more than one DMARC record, so receivers ignore all of them"
            return failed(NAME, what, "Remove all but one.")
        remedy = f"Add a TXT record to _dmarc.{domain}: v=DMARC1; p=none; rua=mailto:… Large providers require one."
        return warning(NAME, f"{domain} has no DMARC record", remedy)
    return _judge(domain, found, resolver)


def walk(domain: str, resolver: Resolver) -> Iterator[tuple[str, list[str]]]:
    """Yield each domain of the walk with its DMARC records, from *domain* up; end at one that says where the organization ends."""
    for name in names(domain):
        records = [text for text in resolver.texts(f"_dmarc.{name}") if VERSION.match(text)]
        yield name, records
        # More than one record count as none (RFC 9989, 4.10).
        if len(records) == 1:
            psd = read_tags(records[0]).get("psd", "u").lower()
            if psd == "n" or (psd == "y" and name != domain):
                return


def names(domain: str) -> Iterator[str]:
    """Yield the domains that a walk from *domain* asks."""
    labels = domain.split(".")
    yield domain
    start = 1 if len(labels) < MOST_LABELS else len(labels) - MOST_LABELS + 1
    for position in range(start, len(labels)):
        yield ".".join(labels[position:])


def discover(domain: str, walked: list[tuple[str, list[str]]]) -> Record | None:
    """Return the record that applies to mail from *domain*: its own, its organization's, or its public suffix's."""
    records = {name: Record(name, read_tags(texts[0])) for name, texts in walked if len(texts) == 1}
    if domain in records:
        return records[domain]
    for name, record in records.items():
        if record.tags.get("psd", "u").lower() == "y":
            # The organization is one label below (RFC 9989, 4.10.2).
            below = ".".join(domain.split(".")[-name.count(".") - 2 :])
            return records.get(below, record)
    # The record with psd=n, with which the walk has ended, or that with the fewest labels.
    return list(records.values())[-1] if records else None


def policy(domain: str, record: Record, resolver: Resolver) -> str:
    """Return the policy of *record* for mail from *domain*; raise ValueError with a value that is none."""
    tags = {name: value.lower() for name, value in record.tags.items()}
    value = tags.get("p")
    if record.domain != domain:
        value = tags.get("sp", value)
        if "np" in tags and not resolver.exists(domain):
            value = tags["np"]
    if value not in POLICIES:
        # RFC 9989, 4.10.1: a record that asks for reports then means p=none.
        if "rua" in tags:
            return "none"
        raise ValueError(value)
    return value


def _judge(domain: str, record: Record, resolver: Resolver) -> Finding:
    try:
        value = policy(domain, record, resolver)
    except ValueError as error:
        what = f"the DMARC record of {record.domain} has no valid policy (p={error})"
        return failed(NAME, what, f"Set p to one of {', '.join(POLICIES)}: until then receivers ignore the record.")
    origin = "" if record.domain == domain else f", inherited from {record.domain}"
    what = f"{domain}: policy {value}{origin}"
    if record.tags.get("t", "n").lower() == "y":
        return warning(NAME, f"{what}, as a test (t=y)", "Remove t=y when the reports show that your own mail passes.")
    if value == "none":
        remedy = "Once the reports show that your own mail passes, change it to quarantine or reject."
        return warning(NAME, f"{what}: receivers only report what fails", remedy)
    if "rua" not in record.tags:
        return ok(NAME, f"{what}; without rua= nobody sends you reports")
    return ok(NAME, what)
