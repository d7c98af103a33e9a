"""Refusals: counts refusals in the same words, because they may mean us, or a whole sending, and not the recipients.

A server that refuses its client often says the same about every recipient. So these emails are suspects. They are settled when
the server says something else, when it has said the same about five recipients, or when the batch ends.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ...smtp.replies import is_about_content, wording
from .decision import MOST_ALIKE

if TYPE_CHECKING:
    from ...errors import Refused
    from ...store.lease import Claimed
    from ...store.outbox import Try

# How many sendings to remember: of those without an acceptance, the last ones.
MOST_SENDINGS = 100


class Suspect(NamedTuple):
    """A refused email of the current batch that is not settled yet."""

    email: Claimed
    attempt: Try
    error: Refused


class Refusals:
    """The current run of refusals in the same words. The run outlives a batch; its suspects do not."""

    def __init__(self) -> None:
        self._suspects: list[Suspect] = []
        self._wording = ""
        self._recipients: set[str] = set()

    def is_like(self, error: Refused) -> bool:
        """Return whether *error* uses the words of the run; always true if there is no run."""
        return self._wording in {"", wording(error)}

    def count_with(self, email: Claimed, error: Refused) -> int:
        """Return how many different recipients the run would have with this refusal."""
        return len(self._recipients | {email.recipient.lower()}) if self.is_like(error) else 1

    def add(self, suspect: Suspect) -> None:
        """Add a refusal to the run."""
        self._wording = wording(suspect.error)
        self._recipients.add(suspect.email.recipient.lower())
        self._suspects.append(suspect)

    @property
    def is_single(self) -> bool:
        """Return whether the run has only one recipient."""
        return len(self._recipients) == 1

    def take_suspects(self) -> list[Suspect]:
        """Return the suspects and forget them; the run continues."""
        suspects, self._suspects = self._suspects, []
        return suspects

    def end(self) -> list[Suspect]:
        """End the run, and return its suspects."""
        self._wording, self._recipients = "", set()
        return self.take_suspects()


@dataclass
class _Run:
    """The recipients of one sending that the server refused in the same words, and whether it has since accepted other mail."""

    wording: str
    recipients: set[str] = field(default_factory=set)
    accepts_others: bool = False


class SendingRefusals:
    """The refusals of each sending since the server last accepted an email of it.

    The server refuses a sending if it refuses five of its recipients in the same words, and either the words are about the content
    or it accepts other mail meanwhile.
    """

    def __init__(self) -> None:
        self._runs: dict[str | int, _Run] = {}

    def add(self, email: Claimed, error: Refused) -> bool:
        """Count a refusal, and return whether the server refuses the whole sending."""
        run = self._runs.get(email.sending)
        if run is None or run.wording != wording(error):
            run = self._runs[email.sending] = _Run(wording(error))
            if len(self._runs) > MOST_SENDINGS:
                del self._runs[next(iter(self._runs))]
        run.recipients.add(email.recipient.lower())
        return len(run.recipients) >= MOST_ALIKE and (run.accepts_others or is_about_content(error))

    def note_accepted(self, email: Claimed) -> None:
        """Note that the server has accepted *email*."""
        if self._runs:
            self._runs.pop(email.sending, None)
            for run in self._runs.values():
                run.accepts_others = True
