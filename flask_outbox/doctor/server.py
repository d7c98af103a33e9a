"""Checks of the SMTP server: connection, TLS, login, and what it offers. Nothing is sent."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..errors import Unavailable
from ..problems import is_loopback
from ..smtp.probe import Probe, probe
from .finding import Finding, failed, ok, skipped, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..smtp.server import Server

# Longest wait for one reply, in seconds, even if MAIL_TIMEOUT allows more.
TIMEOUT = 10.0
# A certificate of Let's Encrypt is renewed 30 days before its end; with fewer days left than this, the renewal has failed.
FEWEST_DAYS = 14
# RFC 8996 forbids the older ones.
GOOD_TLS = ("TLSv1.2", "TLSv1.3")
# What the library uses if the server offers it, and why.
WANTED = {
    "PIPELINING": "faster",
    "SIZE": "a message that is too large fails before it is transmitted",
    "SMTPUTF8": "addresses such as jörg@example.com",
}
# Worth knowing. The library needs none of them.
OTHERS = ("8BITMIME", "CHUNKING", "DSN", "STARTTLS")


def check_server(server: Server, *, is_suppressed: bool) -> Iterator[Finding]:
    """Yield the findings about *server*: smtp, tls, login, capabilities."""
    names = ("tls", "login", "capabilities")
    where = f"{server.host}:{server.port}"
    if is_suppressed:
        yield skipped("smtp", "MAIL_SUPPRESS_SEND is on, so the server is not used")
        return
    try:
        found = probe(replace(server, timeout=min(server.timeout, TIMEOUT)))
    except Unavailable as error:
        yield failed("smtp", f"{where} cannot be used: {error}", _remedy(error))
        for name in names:
            yield skipped(name, "the connection has failed")
        return
    yield ok("smtp", f"{where} answers")
    yield _check_tls(server, found)
    yield _check_login(server, found)
    yield _check_capabilities(found)


def _remedy(error: Unavailable) -> str:
    if error.ours:
        return "Correct the MAIL_* setting that this is about: user name and password, encryption, MAIL_TLS_CA, MAIL_EHLO_NAME."
    return "Check MAIL_SERVER and MAIL_PORT, that the server runs, and that a firewall lets this host through."


def _check_tls(server: Server, found: Probe) -> Finding:
    if not found.tls:
        if is_loopback(server.host):
            return skipped("tls", "the server is on this machine, and the connection is not encrypted")
        remedy = "Set MAIL_USE_TLS with port 587, or MAIL_USE_SSL with port 465."
        return warning("tls", "the connection is not encrypted: everybody on the way can read the mail", remedy)
    if found.tls not in GOOD_TLS:
        return warning("tls", f"{found.tls} is out of date", "Update the SMTP server to TLS 1.2 or newer.")
    if found.certificate_ends is None:
        return ok("tls", found.tls)
    days = (found.certificate_ends - datetime.now(UTC)).days
    what = f"{found.tls}, certificate verified, expires in {days} days"
    if days < FEWEST_DAYS:
        return warning("tls", what, "Renew the certificate of the SMTP server. No mail is sent once it has expired.")
    return ok("tls", what)


def _check_login(server: Server, found: Probe) -> Finding:
    if found.is_logged_in:
        return ok("login", "the server accepts the login")
    if "AUTH" in found.extensions and not is_loopback(server.host):
        remedy = "Set MAIL_USERNAME and MAIL_PASSWORD, unless the server takes mail from this host's address."
        return warning("login", "the server offers a login, and MAIL_USERNAME is not set", remedy)
    return skipped("login", "MAIL_USERNAME is not set")


def _check_capabilities(found: Probe) -> Finding:
    offered = [_capability(found, name) for name in (*WANTED, *OTHERS) if name in found.extensions]
    missing = [f"{name} ({why})" for name, why in WANTED.items() if name not in found.extensions]
    what = f"offers {', '.join(offered) or 'no extension'}"
    return ok("capabilities", f"{what}; without {', '.join(missing)}" if missing else what)


def _capability(found: Probe, name: str) -> str:
    return f"{name} {found.extensions[name]}" if name == "SIZE" and found.extensions[name] else name
