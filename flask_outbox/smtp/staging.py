"""Staging: on a test site only the listed addresses get mail, whatever its data contains."""

from __future__ import annotations

from dataclasses import dataclass

from ..message.header import field
from .envelope import Envelope

# No RFC defines a header for this; Postfix's is known to mail readers and filters.
ORIGINAL_TO = "X-Original-To"


@dataclass(frozen=True)
class Staging:
    """MAIL_ALLOW_TO and MAIL_REDIRECT_TO; with both empty everybody gets mail.

    *allow_to* lists addresses (``susan@example.com``) and domains (``example.com`` or ``@example.com``). *redirect_to* is a bare
    address that gets the mail of everybody else; without it their mail is held.
    """

    allow_to: tuple[str, ...] = ()
    redirect_to: str = ""

    def route(self, email: Envelope) -> Envelope | None:
        """Return the envelope to send instead of *email*, which may be *email* itself, or None if it must be held."""
        if self._allows(email.recipient):
            return email
        if not self.redirect_to:
            return None
        return Envelope(email.sender, self.redirect_to, field(ORIGINAL_TO, email.recipient).encode() + email.source)

    def _allows(self, recipient: str) -> bool:
        if not (self.allow_to or self.redirect_to):
            return True
        address = recipient.lower()
        domain = address.rpartition("@")[2]
        return any(entry.lower() in {address, domain, f"@{domain}"} for entry in self.allow_to)
