"""Ask DNS, with a limit on every question; after a question without an answer, the others are not asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dns.exception
import dns.resolver
from dns.inet import is_address

if TYPE_CHECKING:
    from collections.abc import Callable

# Longest wait for the answer to one question, in seconds.
TIMEOUT = 5.0
DNS_PORT = 53


class NoAnswer(Exception):  # noqa: N818 - the reason for which a check is skipped
    """DNS does not answer, so nothing is known; the message says why."""


class Resolver:
    """Asks the system's DNS servers, or *nameserver*, given as an IPv4 address or ``address:port``.

    Raises NoAnswer if there is none, and ValueError for a *nameserver* that is no address.
    """

    def __init__(self, nameserver: str | None = None) -> None:
        try:
            self._resolver = dns.resolver.Resolver(configure=nameserver is None)
        except dns.resolver.NoResolverConfiguration as error:
            raise NoAnswer("this host has no DNS server (/etc/resolv.conf)") from error
        if nameserver is not None:
            host, _, port = nameserver.partition(":")
            if not is_address(host) or not (port or "0").isdecimal():
                raise ValueError(f"{nameserver!r} is no IPv4 address: write it as 192.0.2.1 or 192.0.2.1:53")
            self._resolver.nameservers, self._resolver.port = [host], int(port or DNS_PORT)

    def texts(self, name: str) -> list[str]:
        """Return the TXT records of *name*, each put together; an empty list if there is none."""
        answer = self._ask(name, "TXT")
        return [] if answer is None else [b"".join(record.strings).decode("utf-8", "replace") for record in answer]

    def has(self, name: str, kind: str) -> bool:
        """Return whether *name* has a record of this *kind*, such as MX."""
        return self._ask(name, kind) is not None

    def exists(self, name: str) -> bool:
        """Return whether *name*, or a name below it, has any record (RFC 8020)."""
        try:
            self._resolver.resolve(name, "TXT", lifetime=TIMEOUT, raise_on_no_answer=False, search=False)
        except dns.resolver.NXDOMAIN:
            return False
        except dns.exception.DNSException as error:
            raise _no_answer(name, error) from error
        return True

    def _ask(self, name: str, kind: str) -> dns.resolver.Answer | None:
        try:
            return self._resolver.resolve(name, kind, lifetime=TIMEOUT, search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return None
        except dns.exception.DNSException as error:
            raise _no_answer(name, error) from error


def _no_answer(name: str, error: dns.exception.DNSException) -> NoAnswer:
    if isinstance(error, dns.exception.Timeout):
        return NoAnswer(f"DNS did not answer within {TIMEOUT:g} s ({name})")
    return NoAnswer(f"DNS has no usable answer for {name} ({type(error).__name__})")


def resolver_maker(nameserver: str | None) -> Callable[[], Resolver]:
    """Return a function that makes a resolver, one for each thread; raise ValueError if *nameserver* is no address."""
    if nameserver is not None:
        Resolver(nameserver)
    return lambda: Resolver(nameserver)
