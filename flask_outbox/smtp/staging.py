"""Who may get mail from here: on a staging site nobody but the list, whatever the data says."""

from __future__ import annotations

from dataclasses import dataclass

from ..message.header import field
from .conversation import Envelope

# RFC 5321 has no header for it; this is Postfix's, which mail readers show and filters know.
ORIGINAL = "X-Original-To"


@dataclass(frozen=True)
class Staging:
    """The list of who gets mail, and who gets everybody else's; without a list there is no restriction."""

    allow_to: tuple[str, ...] = ()
    redirect_to: str = ""

    def route(self, email: Envelope) -> Envelope | None:
        """Return *email* as it goes out from here, or None where it must be held."""
        if self._allows(email.recipient):
            return email
        if not self.redirect_to:
            return None
        return Envelope(email.sender, self.redirect_to, field(ORIGINAL, email.recipient).encode() + email.source)

    def _allows(self, recipient: str) -> bool:
        if not (self.allow_to or self.redirect_to):
            return True
        address = recipient.lower()
        domain = address.rpartition("@")[2]
        return any(entry in {address, domain, f"@{domain}"} for entry in (one.lower() for one in self.allow_to))
