"""Server: the address of the SMTP server, how to log in to it, and whom it may reach."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from .staging import Staging

if TYPE_CHECKING:
    from .oauth import OAuth


@dataclass(frozen=True)
class Server:
    """The SMTP server that mail goes out through; most fields are Flask-Mail's settings.

    *timeout* is in seconds, for each reply. *max_emails* is how many emails one connection carries, None for no limit.
    *ca_file* names a PEM file of authorities to trust beside the system's. With *oauth* the login is XOAUTH2.
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

    @cached_property
    def tls(self) -> ssl.SSLContext:
        """Return the TLS context of all connections, which verifies name, date and issuer; building it takes 24 ms."""
        context = ssl.create_default_context()
        if self.ca_file:
            # Loaded into the context, because create_default_context(cafile=...) replaces the system's authorities.
            context.load_verify_locations(self.ca_file)
        return context
