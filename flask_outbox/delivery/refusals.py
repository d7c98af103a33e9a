"""A run of refusals in the same words, which may be meant for us rather than for the recipients.

A server that has turned against its client often says the same to everybody. So these emails are suspects: they are settled
when the server has said something else, when it has said the same to five recipients, or when the batch ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..smtp.replies import wording

if TYPE_CHECKING:
    from ..errors import Refused
    from ..store.lease import Claimed
    from ..store.outbox import Try


class Suspect(NamedTuple):
    """An email of the current batch whose refusal is not settled yet."""

    email: Claimed
    attempt: Try
    error: Refused


class Refusals:
    """The current run of refusals alike. The run goes on from batch to batch, its suspects do not."""

    def __init__(self) -> None:
        self._suspects: list[Suspect] = []
        self._wording = ""
        self._recipients: set[str] = set()

    def is_like(self, error: Refused) -> bool:
        """Return whether *error* says the same as the run, or there is none."""
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
        """Return whether the run has one recipient only."""
        return len(self._recipients) == 1

    def take_suspects(self) -> list[Suspect]:
        """Return the suspects and forget them; the run goes on."""
        suspects, self._suspects = self._suspects, []
        return suspects

    def end(self) -> list[Suspect]:
        """End the run, and return its suspects."""
        self._wording, self._recipients = "", set()
        return self.take_suspects()
