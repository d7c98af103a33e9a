"""Server: the address of the SMTP server, how to log in to it, whom it may reach, and who signs what it gets."""

from __future__ import annotations

import re
import socket
import ssl
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..message.dkim.signer import Signer
from .habits import Habits
from .staging import Staging

if TYPE_CHECKING:
    from .envelope import Envelope
    from .oauth import OAuth

# Letters, digits and hyphens (RFC 5321, 2.3.5), with a domain whose last label is no number, as in an address.
HOST_NAME = re.compile(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class Server:
    """The SMTP server that mail goes out through; most fields are Flask-Mail's settings.

    *timeout* is in seconds, for each reply. *max_emails* is how many emails one connection carries; with None ``habits`` decides,
    which hold what this process learns about the server. *ca_file* names a PEM file of authorities to trust beside the system's.
    With *oauth* the login is XOAUTH2. *ehlo_name* is how we introduce ourselves, empty for the connection's own address.
    """

    host: str = "localhost"
    port: int = 25
    use_tls: bool = False
    use_ssl: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    timeout: float = 30.0
    max_emails: int | None = None
    ca_file: str | None = None
    oauth: OAuth | None = None
    staging: Staging = field(default_factory=Staging)
    ehlo_name: str = ""
    signer: Signer = field(default_factory=Signer, repr=False, compare=False)
    habits: Habits = field(default_factory=Habits, repr=False, compare=False)

    def route(self, email: Envelope) -> Envelope | None:
        """Return what to send for *email*: signed, and on a staging site to whom that says; None if it must be held."""
        signed = self.signer.renew(email.source)
        return self.staging.route(email if signed is email.source else email._replace(source=signed))

    @property
    def most_emails(self) -> int | None:
        """Return how many emails one connection may carry, or None for no limit."""
        return self.habits.most_emails if self.max_emails is None else self.max_emails

    @cached_property
    def tls(self) -> ssl.SSLContext:
        """Return the TLS context of all connections, which verifies name, date and issuer; building it takes 24 ms."""
        context = ssl.create_default_context()
        if self.ca_file:
            # Loaded into the context, because create_default_context(cafile=...) replaces the system's authorities.
            context.load_verify_locations(self.ca_file)
        return context


def ehlo_name(base_url: str) -> str:
    """Return the host of *base_url*, or else this host's name, whichever has a domain; empty if none has.

    Many servers refuse a name without a domain, such as a container's. DNS is not asked, because that can hang.
    """
    names = (urlsplit(base_url).hostname or "", socket.gethostname())
    return next((name for name in names if HOST_NAME.fullmatch(name)), "")
