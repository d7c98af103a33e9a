"""Check the base URL, with which the links in every mail begin."""

from __future__ import annotations

import http.client
import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from .finding import Finding, failed, ok, warning

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "base-url"
# How long to wait for the site, in seconds.
TIMEOUT = 10.0
SERVER_ERROR = 500


def check_base_url(base_url: str, *, is_development: bool, visits: bool = False) -> Finding:
    """Return whether a recipient could follow a link to *base_url*; with *visits*, request the page too."""
    if not base_url:
        remedy = "Set MAIL_BASE_URL to the address of the site. Until then, a template with url_for raises InvalidMessage."
        return warning(NAME, "no base URL is set, so a mail cannot link to the site", remedy)
    url = urlsplit(base_url)
    host = url.hostname or ""
    if not is_development and _is_this_machine(host):
        return warning(
            NAME, f"{base_url} means the recipient's own machine", "Set MAIL_BASE_URL to the public address of the site."
        )
    if not is_development and url.scheme == "http":
        return warning(
            NAME, f"{base_url} is not encrypted, and links in mail may hold secrets", "Serve the site over https, and say so."
        )
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        return failed(NAME, f"{host} has no address in DNS, as seen from here", "Correct MAIL_BASE_URL, or add the name to DNS.")
    return _visit(url) if visits else ok(NAME, f"{base_url}; its name is in DNS (--visit also requests the page)")


def _visit(url: SplitResult) -> Finding:
    """Request the page; a redirect is an answer like any other, and is not followed."""
    make: Callable[..., http.client.HTTPConnection]
    make = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = make(url.hostname or "", url.port, timeout=TIMEOUT)
    remedy = "Check that the site runs and can be reached under this address."
    try:
        connection.request("GET", url.path or "/", headers={"User-Agent": "flask-mail-doctor"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return failed(NAME, f"{url.geturl()} does not answer: {error}", remedy)
    finally:
        connection.close()
    if status >= SERVER_ERROR:
        return failed(NAME, f"{url.geturl()} answers with {status}", remedy)
    return ok(NAME, f"{url.geturl()} answers with {status}")


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
