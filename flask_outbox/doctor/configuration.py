"""Checks of the settings: valid ones that nobody wants on a real site. Invalid ones have kept the app from starting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..message.address import parse
from .finding import Finding, ok, skipped, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..settings import MailSettings

# RFC 2606 and RFC 6761: nobody owns these domains, so no mail from them passes SPF, DKIM or DMARC.
RESERVED = ("example", "invalid", "localhost", "local", "test", "example.com", "example.net", "example.org")


def check_settings(settings: MailSettings, *, is_development: bool) -> Iterator[Finding]:
    """Yield a finding for each suspicious setting."""
    yield ok("settings", "every MAIL_* setting is valid")
    yield check_sender(settings)
    yield from check_switches(settings, is_development=is_development)
    if settings.allow_to or settings.redirect_to:
        yield _check_staging(settings)


def check_sender(settings: MailSettings) -> Finding:
    """Return whether mail has a sender whose domain exists."""
    domains = sender_domains(settings)
    if not domains:
        remedy = "Set MAIL_DEFAULT_SENDER. Without it, every message must name its sender."
        return warning("sender", "there is no default sender", remedy)
    reserved = [domain for domain in domains if is_reserved(domain)]
    if reserved:
        what = f"mail is sent from {', '.join(reserved)}, which is reserved for examples and tests"
        return warning("sender", what, "Set MAIL_DEFAULT_SENDER to an address in a domain of your own.")
    return ok("sender", f"mail is sent from {', '.join(domains)}")


def check_switches(settings: MailSettings, *, is_development: bool) -> Iterator[Finding]:
    """Yield a finding for each switch that is meant for development."""
    if settings.suppress_send and not is_development:
        what = "MAIL_SUPPRESS_SEND is on: nothing is transmitted, and every email is recorded as sent"
        yield warning("suppress-send", what, "Turn MAIL_SUPPRESS_SEND off on a real site.")
    if settings.debug and not is_development:
        what = "MAIL_DEBUG is on: the log holds every recipient's address"
        yield warning("debug", what, "Turn MAIL_DEBUG off when you have found what you were looking for.")


def _check_staging(settings: MailSettings) -> Finding:
    fate = f"goes to {settings.redirect_to}" if settings.redirect_to else "is held"
    allowed = "MAIL_ALLOW_TO is set" if settings.allow_to else "MAIL_REDIRECT_TO is set"
    remedy = "That is right for a staging site. On a real site remove MAIL_ALLOW_TO and MAIL_REDIRECT_TO."
    return warning("staging", f"{allowed}: all other mail {fate}", remedy)


def sender_domains(settings: MailSettings) -> list[str]:
    """Return the domains that mail is sent from by default, in lower case and as DNS writes them."""
    senders = [settings.default_sender, settings.template_sender]
    envelopes = [parse(sender, "the sender").envelope for sender in senders if sender]
    return list(dict.fromkeys(envelope.rpartition("@")[2].lower() for envelope in envelopes))


def is_reserved(domain: str) -> bool:
    """Return whether *domain* belongs to nobody."""
    return any(domain == name or domain.endswith(f".{name}") for name in RESERVED)


def no_sender(name: str) -> Finding:
    """Return that the check *name* needs a sender."""
    return skipped(name, "there is no default sender whose domain could be looked up")
