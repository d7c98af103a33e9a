"""Checks of the sender's domain in DNS: does it exist, and does mail from it pass SPF, DKIM and DMARC."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from .configuration import is_reserved, no_sender
from .dkim import check_dkim
from .dmarc import check_dmarc
from .finding import Finding, failed, ok, skipped
from .resolver import NoAnswer, Resolver
from .spf import check_spf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


def check_domain(domain: str, resolver: Resolver) -> Finding:
    """Return whether *domain* can receive answers and bounces; many receivers refuse mail from a domain that cannot."""
    if any(resolver.has(domain, kind) for kind in ("MX", "A", "AAAA")):
        return ok("sender-domain", f"{domain} can receive mail")
    what = f"{domain} has no mail server and no address in DNS, as seen from here: receivers may refuse its mail"
    return failed("sender-domain", what, "Correct the sender, or add an MX record.")


def dns_checks(
    domains: Sequence[str], selectors: Sequence[str], make_resolver: Callable[[], Resolver]
) -> list[tuple[str, Callable[[], Iterator[Finding]]]]:
    """Return the checks of each of *domains*, by name; *selectors* are those of DKIM. Each may run in a thread of its own."""
    kinds: dict[str, Callable[[str, Resolver], Finding]] = {
        "sender-domain": check_domain,
        "spf": check_spf,
        "dkim": lambda domain, resolver: check_dkim(domain, selectors, resolver),
        "dmarc": check_dmarc,
    }

    def run(name: str) -> Iterator[Finding]:
        if not domains:
            yield no_sender(name)
        for domain in domains:
            yield _run(name, kinds[name], domain, make_resolver)

    return [(name, partial(run, name)) for name in kinds]


def _run(name: str, check: Callable[[str, Resolver], Finding], domain: str, make_resolver: Callable[[], Resolver]) -> Finding:
    if is_reserved(domain):
        return skipped(name, f"{domain} is reserved for examples and tests")
    try:
        return check(domain, make_resolver())
    except NoAnswer as error:
        return skipped(name, str(error), "Check the DNS server of this host, or name another: --nameserver.")
