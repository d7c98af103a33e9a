"""Whether a run of refusals speaks of us rather than of the recipients.

A server that has turned against its client often says the same to everybody. Five different recipients refused in the same
words, with none accepted between, are taken for that, and the emails are not failed. A reply whose enhanced code
speaks of the mailbox (RFC 3463, 3.2 and 3.3) is believed at once: a list may well hold five dead addresses.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..smtp.conversation import OF_THE_MAILBOX

if TYPE_CHECKING:
    from ..errors import Refused
    from ..store.lease import Claimed
    from ..store.outbox import Try

MOST_ALIKE = 5
# What differs between two replies that say the same: queue ids, times, addresses.
PARTICULAR = re.compile(r"<[^>]*>|\S+@\S+|\S*\d\S*")


class Suspicion:
    """The refusals in a row that are all alike; those of the present batch are held, not yet settled."""

    def __init__(self) -> None:
        self.held: list[tuple[Claimed, Try]] = []
        self._words = ""
        self._recipients: set[str] = set()

    def covers(self, error: Refused) -> bool:
        """Return whether *error* leaves open whose fault it is; a refusal of our own (too large, say) does not."""
        return error.code is not None and not (error.enhanced and OF_THE_MAILBOX.match(error.enhanced))

    def is_like(self, error: Refused) -> bool:
        """Return whether *error* says the same as the refusals before it."""
        return self._words in {"", _words(error)}

    def add(self, email: Claimed, one: Try, error: Refused) -> bool:
        """Hold *email*, and return whether that is one too many."""
        self._words = _words(error)
        self._recipients.add(email.recipient.lower())
        self.held.append((email, one))
        return len(self._recipients) >= MOST_ALIKE

    @property
    def is_single(self) -> bool:
        """Return whether only one recipient has been refused so far."""
        return len(self._recipients) == 1

    def release(self) -> list[tuple[Claimed, Try]]:
        """Return what was held; the run itself goes on, into the next batch."""
        held, self.held = self.held, []
        return held

    def clear(self) -> list[tuple[Claimed, Try]]:
        """End the run, and return what was held."""
        self._words, self._recipients = "", set()
        return self.release()


def _words(error: Refused) -> str:
    return f"{error.code} {PARTICULAR.sub('', error.reply)}"
