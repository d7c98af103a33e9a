"""Decides what happens to an email: a pure function of the server's reply and of the situation.

The table in ``docs/delivery.md`` lists the decisions, and a test checks it against this module.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from ...errors import Deferred, Held, Refused, Unavailable
from ...smtp.envelope import Reply
from ...smtp.replies import TOO_MANY_CONNECTIONS, asks_to_slow_down, is_about_content, is_unclear

if TYPE_CHECKING:
    from ...errors import TransmissionError

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
    HOLD_SENDING = auto()
    """Held, with all other emails of the same sending."""
    SUSPECT = auto()
    """Undecided: the replies to the next emails show whether the server refuses this recipient or us."""
    POSTPONE = auto()
    """Queued again behind the others, for two minutes."""
    SLOW_DOWN = auto()
    """Queued again for a moment, and this worker sends more slowly."""
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
    *is_singled_out*: the server has asked several times to slow down because of this email, and accepts others.

    The other fields matter only for an unclear refusal: it may mean this recipient, or us. *alike* is how many different
    recipients in a row the server refused in the same words, this one included. *is_contradicted*: the server has since accepted
    another email, or refused one in other words. *is_batch_over*: no email of the batch is left to compare with. *is_alone*: and
    no other email is due. *is_refused_before*: it was refused in an earlier batch; *accepts_others*: and since then the server has
    accepted another email. *is_sending_refused*: the server refuses the sending of this email. *has_siblings*: other emails of
    the same sending wait.
    """

    is_cut: bool = False
    is_extra: bool = False
    is_singled_out: bool = False
    alike: int = 1
    is_contradicted: bool = False
    is_batch_over: bool = False
    is_alone: bool = False
    is_refused_before: bool = False
    accepts_others: bool = False
    is_sending_refused: bool = False
    has_siblings: bool = False


USUAL = Situation()

SENT = Decision(Fate.SENT)
FAILED = Decision(Fate.FAILED)
RETRY = Decision(Fate.RETRY)
HOLD = Decision(Fate.HOLD, counts=False)
HOLD_SENDING = Decision(Fate.HOLD_SENDING, counts=False)
SUSPECT = Decision(Fate.SUSPECT, counts=False)
SECOND_OPINION = Decision(Fate.POSTPONE, counts=False)
SLOW_DOWN = Decision(Fate.SLOW_DOWN, counts=False)
RELEASE = Decision(Fate.RELEASE, counts=False)
POSTPONE_AND_STOP = Decision(Fate.POSTPONE, counts=False, stops=True)
RELEASE_AND_STOP = Decision(Fate.RELEASE, counts=False, stops=True)


def decide(said: Reply | TransmissionError, situation: Situation = USUAL) -> Decision:
    """Return what happens to an email after the server *said* this."""
    if isinstance(said, Reply):
        return SENT
    if isinstance(said, Refused):
        return _decide_refused(said, situation)
    return HOLD if isinstance(said, Held) else _decide_not_now(said, situation)


def _decide_not_now(said: TransmissionError, situation: Situation) -> Decision:
    if situation.is_extra and (isinstance(said, Unavailable) or said.code == TOO_MANY_CONNECTIONS):
        return RELEASE_AND_STOP
    if asks_to_slow_down(said) and not situation.is_singled_out:
        return SLOW_DOWN
    if isinstance(said, Deferred):
        # We cut the connection, which says nothing about the email, unless the server may have accepted it.
        return RELEASE if situation.is_cut and not said.uncertain else RETRY
    # The email may be the cause after all: if it always went first, it would block all the others.
    may_be_to_blame = isinstance(said, Unavailable) and said.over_an_email and not situation.is_cut
    return POSTPONE_AND_STOP if may_be_to_blame else RELEASE_AND_STOP


def _decide_refused(said: Refused, situation: Situation) -> Decision:
    if situation.is_sending_refused and (is_unclear(said) or is_about_content(said)):
        return HOLD_SENDING
    is_about_sending = is_about_content(said) and situation.has_siblings
    if not (is_unclear(said) or is_about_sending):
        return FAILED
    if situation.is_contradicted:
        return SECOND_OPINION if is_about_sending and not situation.is_refused_before else FAILED
    if situation.is_batch_over:
        return _decide_without_comparison(situation)
    return POSTPONE_AND_STOP if situation.alike >= MOST_ALIKE else SUSPECT


def _decide_without_comparison(situation: Situation) -> Decision:
    if situation.is_refused_before:
        return FAILED if situation.accepts_others else POSTPONE_AND_STOP
    return FAILED if situation.is_alone else SECOND_OPINION


def reason_to_stop(said: Reply | TransmissionError) -> Unavailable:
    """Return why this worker stops, after a decision that says so."""
    if isinstance(said, Unavailable):
        return said
    if isinstance(said, Refused):
        return Unavailable(f"{said.reply} (the same again and again, and no email accepted since)", said.code, ours=True)
    return Unavailable(said.reply, said.code)
