"""A finding: what one check has found, how bad it is, and what to do."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Level(enum.StrEnum):
    """How bad a finding is. Only a failed check is an error: mail does not go out, or does not arrive."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """*what* the check *name* has found, in one sentence, and the *remedy*; a skipped check says why it was skipped."""

    name: str
    level: Level
    what: str
    remedy: str = ""


def ok(name: str, what: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(name, Level.OK, what)


def warning(name: str, what: str, remedy: str) -> Finding:
    """Return a finding that somebody should think about."""
    return Finding(name, Level.WARNING, what, remedy)


def failed(name: str, what: str, remedy: str) -> Finding:
    """Return a finding that keeps mail from going out or from arriving."""
    return Finding(name, Level.FAILED, what, remedy)


def skipped(name: str, reason: str, remedy: str = "") -> Finding:
    """Return a finding that says why a check was not possible."""
    return Finding(name, Level.SKIPPED, reason, remedy)
