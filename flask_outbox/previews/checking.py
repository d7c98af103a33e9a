"""Check each mail of an app, with each variant of its sample data: what ``flask mail lint`` and the desk show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InvalidMessage
from .lint import Finding, Level, lint
from .rendering import render_preview
from .samples import DEFAULT, read_samples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask_mail import Message

    from ..state import MailState
    from .mails import Mail
    from .samples import Samples, Variant


@dataclass(frozen=True)
class Checked:
    """A mail, rendered with one variant of its sample data: the *message*, None if that failed, and the *findings*."""

    mail: Mail
    variant: str
    message: Message | None
    findings: list[Finding]

    @property
    def errors(self) -> int:
        """Return how many errors there are."""
        return self._count(Level.ERROR)

    @property
    def warnings(self) -> int:
        """Return how many warnings there are."""
        return self._count(Level.WARNING)

    @property
    def notes(self) -> int:
        """Return how many notes there are."""
        return self._count(Level.NOTE)

    def _count(self, level: Level) -> int:
        return sum(finding.level is level for finding in self.findings)


def check(state: MailState, mail: Mail) -> Iterator[Checked]:
    """Yield *mail* with each variant of its sample data; one that cannot be rendered has a finding that says why."""
    try:
        samples = read_samples(mail)
    except InvalidMessage as error:
        yield Checked(mail, DEFAULT, None, [_unrendered(mail, error)])
        return
    for variant in samples.variants:
        yield check_variant(state, mail, samples, variant)


def check_variant(state: MailState, mail: Mail, samples: Samples, variant: Variant) -> Checked:
    """Return *mail*, rendered with one *variant*, with what lint says of it."""
    try:
        message = render_preview(state, mail, samples, variant)
    except InvalidMessage as error:
        return Checked(mail, variant.name, None, [_unrendered(mail, error)])
    findings = lint(str(message.subject), str(message.body or ""), message.html, state.base_url)
    if mail.sample is not None and not str(message.subject).removeprefix(state.settings.subject_prefix).strip():
        findings.insert(0, Finding(Level.ERROR, "subject", "subject", None, "the subject is empty", NO_SUBJECT))
    return Checked(mail, variant.name, message, [finding for finding in findings if finding.rule not in samples.accepted])


NO_SUBJECT = 'Write subject = "..." into the sample data, as the code that sends the mail does.'


def _unrendered(mail: Mail, error: InvalidMessage) -> Finding:
    remedy = "Correct it."
    if mail.sample is None:
        remedy = f"There is no sample data: create {_near(mail.sample_path)} with def default(): return {{...}}."
    return Finding(Level.ERROR, "render", "mail", None, str(error), remedy)


def _near(path: Path) -> Path:
    """Return *path* from the current folder, if it is below that."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
