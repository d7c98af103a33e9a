"""Lint a mail: what is wrong with it, where, and what to do; for a template, and for any message as it was sent."""

from __future__ import annotations

from ...message.reading import ReadMessage
from .document import Document
from .finding import Finding, Level
from .links import check_links
from .structure import check_structure
from .support import check_support
from .wording import check_wording

__all__ = ["Finding", "Level", "lint", "lint_message"]

ORDER = list(Level)


def lint(subject: str, text: str, html: str | None, base_url: str = "") -> list[Finding]:
    """Return the findings for a mail, the worst first; *html* is None without that half, and *base_url* that of the site."""
    document = None if html is None else Document(html)
    findings = [*check_wording(subject, text, document), *check_links(text, document, base_url)]
    if document is not None:
        findings += [*check_structure(subject, document), *check_support(document)]
    return sorted(findings, key=lambda finding: (ORDER.index(finding.level), finding.half, finding.line or 0, finding.what))


def lint_message(source: bytes, base_url: str = "") -> list[Finding]:
    """Return the findings for a message as it goes over the wire; it raises nothing, however broken the message is."""
    message = ReadMessage(source)
    return lint(message.header("Subject"), message.text or "", message.html, base_url)
