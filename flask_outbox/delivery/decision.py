"""Decides what happens to an email: a pure function of the server's reply and of the situation.

The table in ``docs/delivery.md`` lists the decisions, and a test checks it against this module.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from ..errors import Deferred, Held, Refused, Unavailable
from ..smtp.envelope import Reply
from ..smtp.replies import TOO_MANY_CONNECTIONS, is_unclear

if TYPE_CHECKING:
    from ..errors import TransmissionError

# After so many different recipients refused in the same words, and no acceptance in between, the server refuses us.
MOST_ALIKE = 5


class Fate(Enum):
    """What happens to one email."""

    SENT = auto()
    FAILED = auto()
    RETRY = auto()
    """Queued again, with a backoff."""
    HOLD = auto()
    """Held until an operator retries it."""
    SUSPECT = auto()
    """Undecided: the replies to the next emails show whether the server refuses this recipient or us."""
    POSTPONE = auto()
    """Queued again behind the others, for two minutes."""
    RELEASE = auto()
    """Queued again, unchanged."""


class Decision(NamedTuple):
    """The *fate* of an email, whether the attempt *counts*, and whether this worker *stops* sending for now."""

    fate: Fate
    counts: bool = True
    stops: bool = False


class Situation(NamedTuple):
    """What a decision depends on besides the reply.

    *is_cut*: this process has cut the connection, because it must exit. *is_extra*: this is not the worker's first connection.

    The other fields matter only for an unclear refusal: it may mean this recipient, or us. *alike* is how many different
    recipients in a row the server refused in the same words, this one included. *is_contradicted*: the server has since accepted
    another email, or refused one in other words. *is_batch_over*: no email of the batch is left to compare with. *is_alone*: and
    no other email is due. *tries* is how often the email was tried before.
    """

    is_cut: bool = False
    is_extra: bool = False
    alike: int = 1
    is_contradicted: bool = False
    is_batch_over: bool = False
    is_alone: bool = False
    tries: int = 0


USUAL = Situation()

SENT = Decision(Fate.SENT)
FAILED = Decision(Fate.FAILED)
RETRY = Decision(Fate.RETRY)
HOLD = Decision(Fate.HOLD, counts=False)
SUSPECT = Decision(Fate.SUSPECT, counts=False)
SECOND_OPINION = Decision(Fate.POSTPONE)
RELEASE = Decision(Fate.RELEASE, counts=False)
POSTPONE_AND_STOP = Decision(Fate.POSTPONE, counts=False, stops=True)
RELEASE_AND_STOP = Decision(Fate.RELEASE, counts=False, stops=True)


def decide(said: Reply | TransmissionError, situation: Situation = USUAL) -> Decision:
    """Return what happens to an email after the server *said* this."""
    if isinstance(said, Reply):
        return SENT
    if isinstance(said, Refused):
        return _decide_refused(said, situation)
    if isinstance(said, Deferred):
        return _decide_deferred(said, situation)
    if isinstance(said, Held):
        return HOLD
    # The email may be the cause after all: if it always went first, it would block all the others.
    may_be_to_blame = isinstance(said, Unavailable) and said.over_an_email and not (situation.is_cut or situation.is_extra)
    return POSTPONE_AND_STOP if may_be_to_blame else RELEASE_AND_STOP


def _decide_deferred(said: Deferred, situation: Situation) -> Decision:
    if situation.is_extra and said.code == TOO_MANY_CONNECTIONS:
        return RELEASE_AND_STOP
    # We cut the connection, which says nothing about the email, unless the server may have accepted it.
    return RELEASE if situation.is_cut and not said.uncertain else RETRY


def _decide_refused(said: Refused, situation: Situation) -> Decision:
    if situation.is_contradicted or not is_unclear(said):
        return FAILED
    if situation.is_batch_over:
        return FAILED if situation.is_alone or situation.tries else SECOND_OPINION
    return POSTPONE_AND_STOP if situation.alike >= MOST_ALIKE else SUSPECT


def reason_to_stop(said: Reply | TransmissionError) -> Unavailable:
    """Return why this worker stops, after a decision that says so."""
    if isinstance(said, Unavailable):
        return said
    if isinstance(said, Refused):
        return Unavailable(f"{said.reply} (the same to five recipients in a row)", said.code, ours=True)
    return Unavailable(said.reply, said.code)
