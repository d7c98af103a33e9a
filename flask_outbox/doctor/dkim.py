"""Check DKIM (RFC 6376): the public key with which receivers verify the signature that the mail server makes."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from .finding import Finding, failed, ok, skipped, warning
from .tags import read_tags

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .resolver import Resolver

NAME = "dkim"
HINT = "Send yourself an email, look for s= in its DKIM-Signature header, and run flask mail doctor --dkim-selector with it."
# RFC 8301, 3.2: receivers ignore RSA keys of fewer bits; 2048 are recommended. In bytes of the encoded key: 128 and 256 for the
# modulus, and a frame of about 30 to 40.
SHORTEST_RSA, GOOD_RSA = 128, 256


def check_dkim(domain: str, selectors: Sequence[str], resolver: Resolver) -> Finding:
    """Return whether *domain* has a usable key under each of *selectors*.

    DNS cannot list the selectors; without any it only says whether there can be a key.
    """
    if selectors:
        return _worst([_check_key(domain, selector, resolver) for selector in selectors])
    if not resolver.exists(f"_domainkey.{domain}"):
        remedy = f"Let your mail server sign with a key of {domain}, and add the TXT record that it names."
        return warning(NAME, f"{domain} has no DKIM key", remedy)
    return skipped(NAME, f"{domain} may have keys, and DNS does not list them without their selector", HINT)


def _worst(findings: list[Finding]) -> Finding:
    order = ["failed", "warning", "ok"]
    return min(findings, key=lambda finding: order.index(finding.level))


def _check_key(domain: str, selector: str, resolver: Resolver) -> Finding:
    name = f"{selector}._domainkey.{domain}"
    texts = resolver.texts(name)
    if not texts:
        return failed(NAME, f"{name} has no key", "Add the TXT record that your mail server names, or correct the selector.")
    if len(texts) > 1:
        return failed(NAME, f"{name} has {len(texts)} TXT records, and only one is allowed", "Remove all but the current key.")
    tags = read_tags(texts[0])
    if tags.get("v", "DKIM1") != "DKIM1":
        return failed(NAME, f"{name} is no DKIM key: v={tags['v']}", "Correct the TXT record.")
    return _judge_key(name, tags)


def _judge_key(name: str, tags: dict[str, str]) -> Finding:
    key = "".join(tags.get("p", "").split())
    if not key:
        return failed(NAME, f"the key {name} is revoked: p= is empty", "Publish the current key, and let the mail server use it.")
    try:
        size = len(base64.b64decode(key, validate=True))
    except binascii.Error:
        return failed(NAME, f"the key {name} cannot be read", "Copy the TXT record again: a part of p= is missing or changed.")
    kind = tags.get("k", "rsa")
    if kind == "rsa" and size < SHORTEST_RSA:
        return failed(NAME, f"the key {name} is too short, so receivers ignore it", "Use an RSA key of 2048 bits.")
    if kind == "rsa" and size < GOOD_RSA:
        return warning(NAME, f"the key {name} has fewer than 2048 bits", "Use an RSA key of 2048 bits.")
    testing = ", marked as a test (t=y)" if "y" in tags.get("t", "").split(":") else ""
    return ok(NAME, f"{name} has a key ({kind}{testing})")
