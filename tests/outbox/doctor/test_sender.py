"""SPF, DKIM and the sender's domain, asked of a DNS server on loopback."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from flask_outbox.doctor import resolver as asking
from flask_outbox.doctor.dkim import check_dkim
from flask_outbox.doctor.resolver import Resolver
from flask_outbox.doctor.sender import check_domain, dns_checks
from flask_outbox.doctor.spf import check_spf

if TYPE_CHECKING:
    from tests.outbox.doctor.conftest import DnsServer


def key(size: int) -> str:
    return base64.b64encode(b"k" * size).decode()


MANY = "v=spf1 " + " ".join(f"include:{number}.acme.com" for number in range(11)) + " -all"


@pytest.mark.parametrize(
    ("records", "level", "words"),
    [
        ([], "warning", "acme.com has no SPF record"),
        (["google-site-verification=x"], "warning", "has no SPF record"),
        (["v=spf1 mx include:1.acme.com -all", "other"], "ok", "(2 of 10 lookups)"),
        (["v=spf1 ip4:192.0.2.1 ~all"], "ok", "(0 of 10 lookups)"),
        (["v=spf1 ip4:192.0.2.1 ?all"], "warning", "says nothing about other servers"),
        (["v=spf1 ip4:192.0.2.1"], "warning", "says nothing about other servers"),
        (["v=spf1 all"], "failed", "lets everybody send"),
        (["v=spf1 -all", "v=spf1 ~all"], "failed", "has 2 SPF records"),
        (["v=spf1 include:gone.acme.com -all"], "failed", "names gone.acme.com, which has none"),
        (["v=spf1 redirect=1.acme.com"], "ok", "(1 of 10 lookups)"),
        (["v=spf1 include:%{d}.acme.com -all"], "ok", "(1 of 10 lookups)"),
        (["v=spf1 include:loop.acme.com -all"], "failed", "more than 10 lookups"),
        ([MANY], "failed", "more than 10 lookups"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_spf_as_receivers_evaluate_it(
    dns_server: DnsServer, resolver: Resolver, records: list[str], level: str, words: str
) -> None:
    dns_server.txt("acme.com", *records)
    dns_server.txt("loop.acme.com", "v=spf1 include:loop.acme.com -all")
    for number in range(11):
        dns_server.txt(f"{number}.acme.com", "v=spf1 ip4:192.0.2.1 -all")
    finding = check_spf("acme.com", resolver)
    assert (finding.level, words in finding.what) == (level, True), finding
    assert len(dns_server.asked) < 15


@pytest.mark.parametrize(
    ("records", "level", "words"),
    [
        ([], "failed", "s._domainkey.acme.com has no key"),
        ([f"v=DKIM1; k=rsa; p={key(294)}"], "ok", "has a key (rsa)"),
        ([f"p={key(294)[:200]} {key(294)[200:]}; t=s:y"], "ok", "marked as a test"),
        ([f"k=ed25519; p={key(32)}"], "ok", "(ed25519)"),
        ([f"p={key(162)}"], "warning", "fewer than 2048 bits"),
        ([f"p={key(90)}"], "failed", "too short"),
        (["v=DKIM1; p="], "failed", "is revoked"),
        (["v=DKIM1; p=??"], "failed", "cannot be read"),
        (["v=DKIM2; p="], "failed", "is no DKIM key"),
        (["p=", "p=x"], "failed", "has 2 TXT records"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_dkim_key(dns_server: DnsServer, resolver: Resolver, records: list[str], level: str, words: str) -> None:
    if records:
        dns_server.txt("s._domainkey.acme.com", *records)
    finding = check_dkim("acme.com", ["s"], resolver)
    assert (finding.level, words in finding.what) == (level, True), finding


def test_without_a_selector_dkim_is_skipped_unless_there_can_be_no_key(dns_server: DnsServer, resolver: Resolver) -> None:
    dns_server.txt("acme.com", "x")
    assert check_dkim("acme.com", [], resolver).level == "warning"
    dns_server.txt("s._domainkey.acme.com", f"p={key(294)}")
    finding = check_dkim("acme.com", [], resolver)
    assert (finding.level, "--dkim-selector" in finding.remedy) == ("skipped", True)


def test_a_sender_that_nobody_can_answer(dns_server: DnsServer, resolver: Resolver) -> None:
    assert check_domain("acme.com", resolver).level == "failed"
    dns_server.records["acme.com", "MX"] = ["10 mail.acme.com."]
    assert check_domain("acme.com", resolver).level == "ok"


def test_dns_that_does_not_answer_is_no_failure_but_skipped(dns_server: DnsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "TIMEOUT", 0.2)
    for state, words in (("is_silent", "did not answer within"), ("is_broken", "no usable answer")):
        setattr(dns_server, state, True)
        checks = dns_checks(["acme.com"], ["s"], lambda: Resolver(dns_server.address))
        findings = [finding for _, run in checks for finding in run()]
        assert [finding.level for finding in findings] == ["skipped"] * 4
        assert all(words in finding.what for finding in findings), findings
        setattr(dns_server, state, False)


def test_domains_that_nobody_owns_are_not_looked_up(dns_server: DnsServer) -> None:
    checks = dns_checks(["shop.example.com"], [], lambda: Resolver(dns_server.address))
    assert {finding.level for _, run in checks for finding in run()} == {"skipped"}
    assert dns_server.asked == []
