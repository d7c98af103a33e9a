"""DMARC: which record applies, by the walk of RFC 9989, and what it means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flask_outbox.doctor.dmarc import check_dmarc, names

if TYPE_CHECKING:
    from flask_outbox.doctor.resolver import Resolver
    from tests.outbox.doctor.conftest import DnsServer

DOMAIN = "news.shop.acme.com"
REJECT = "v=DMARC1; p=reject; rua=mailto:d@acme.com"


def test_a_walk_asks_each_parent_and_at_most_eight_names() -> None:
    assert list(names("a.acme.com")) == ["a.acme.com", "acme.com", "com"]
    found = list(names("a.b.c.d.e.f.g.h.i.acme.com"))
    assert (found[0], found[1], found[-1], len(found)) == ("a.b.c.d.e.f.g.h.i.acme.com", "e.f.g.h.i.acme.com", "com", 8)
    assert len(list(names("a.b.c.d.e.f.g.h"))) == 8


@pytest.mark.parametrize(
    ("records", "level", "words"),
    [
        ({}, "warning", f"{DOMAIN} has no DMARC record"),
        ({DOMAIN: REJECT}, "ok", f"{DOMAIN}: policy reject"),
        ({DOMAIN: "v=DMARC1;p=none", "acme.com": REJECT}, "warning", "policy none: receivers only report"),
        ({"acme.com": REJECT}, "ok", "policy reject, inherited from acme.com"),
        ({"acme.com": f"{REJECT}; sp=quarantine"}, "ok", "policy quarantine, inherited from acme.com"),
        # The domain exists, because a test below it has a record; otherwise np would apply.
        ({"acme.com": f"{REJECT}; sp=quarantine; np=none"}, "ok", "policy quarantine, inherited from acme.com"),
        # The record with the fewest labels is the organization's.
        ({"shop.acme.com": "v=DMARC1; p=none", "acme.com": REJECT}, "ok", "policy reject, inherited from acme.com"),
        # psd=n ends the walk.
        ({"shop.acme.com": f"{REJECT}; psd=n", "acme.com": "v=DMARC1; p=none"}, "ok", "inherited from shop.acme.com"),
        # psd=y: the organization is one label below, and its record applies if it has one.
        ({"com": "v=DMARC1; p=none; psd=y", "acme.com": REJECT}, "ok", "inherited from acme.com"),
        ({"com": f"{REJECT}; psd=y"}, "ok", "inherited from com"),
        ({DOMAIN: "v=DMARC1; p=quarantine; t=y"}, "warning", "as a test"),
        ({DOMAIN: "v=DMARC1; p=quarantine"}, "ok", "without rua="),
        ({DOMAIN: "v=DMARC1; p=maybe"}, "failed", "no valid policy (p=maybe)"),
        ({DOMAIN: "v=DMARC1; rua=mailto:d@acme.com"}, "warning", "policy none"),
        ({DOMAIN: "v=spf1 -all"}, "warning", "has no DMARC record"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_which_policy_applies(dns_server: DnsServer, resolver: Resolver, records: dict[str, str], level: str, words: str) -> None:
    dns_server.txt(f"x.{DOMAIN}", "a name that makes the domain exist")
    for domain, record in records.items():
        dns_server.txt(f"_dmarc.{domain}", record)
    finding = check_dmarc(DOMAIN, resolver)
    assert (finding.level, words in finding.what) == (level, True), finding


def test_the_policy_of_a_domain_that_does_not_exist(dns_server: DnsServer, resolver: Resolver) -> None:
    dns_server.txt("_dmarc.acme.com", "v=DMARC1; p=reject; sp=none; np=quarantine; rua=mailto:d@acme.com")
    assert "policy quarantine" in check_dmarc("gone.acme.com", resolver).what


def test_two_records_count_as_none_and_have_failed(dns_server: DnsServer, resolver: Resolver) -> None:
    dns_server.txt(f"_dmarc.{DOMAIN}", REJECT, "v=DMARC1; p=none")
    finding = check_dmarc(DOMAIN, resolver)
    assert (finding.level, "more than one DMARC record" in finding.what) == ("failed", True)
