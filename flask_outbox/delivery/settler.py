"""Settler: carries out what ``decide`` says about each email, in the outbox and in the log."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from ..errors import Deferred, Refused, Unavailable
from ..smtp.envelope import Reply
from ..store.outbox import Try
from .decision import Decision, Fate, Situation, decide, reason_to_stop
from .refusals import Refusals, Suspect

if TYPE_CHECKING:
    from datetime import datetime

    from ..errors import TransmissionError
    from ..store.lease import Batch, Claimed
    from ..store.outbox import Outbox

log = logging.getLogger(__name__)

CONTRADICTED = Situation(is_contradicted=True)
ADDRESS = re.compile(r"([^\s<>@])[^\s<>@]*(@[^\s<>:;,]+)")


class Settler:
    """Settles the emails of one batch after the other in *outbox*; *is_further* as in ``Delivery``.

    ``count`` is how many it has settled so far; an email that only goes back into the queue behind others is not counted.
    """

    def __init__(self, outbox: Outbox, *, is_further: bool) -> None:
        self._outbox = outbox
        self._is_further = is_further
        self._refusals = Refusals()
        self.count = 0
        self.is_cut = False
        # True while an acceptance is being written to the database.
        self.is_accepted = False
        # The server has turned a further connection away.
        self.is_turned_away = False

    def settle(self, batch: Batch, email: Claimed, said: Reply | TransmissionError, attempt: Try) -> None:
        """Decide what becomes of *email* and write it to the outbox; raise Unavailable where nothing more can be sent."""
        # An acceptance is final in every situation, and the usual case.
        decision = decide(said) if isinstance(said, Reply) else decide(said, self._situation(email, said))
        if decision.fate is Fate.SENT:
            self._settle_sent(batch, email, attempt)
        elif decision.fate is Fate.RETRY:
            log.info("mail: email %d was put off: %s", email.id, redact(said))
            self.count += self._outbox.settle_deferred(batch, email, attempt)
            self._note_answered(attempt)
        elif decision.fate is Fate.HOLD:
            log.info("mail: email %d is held: MAIL_ALLOW_TO does not name its recipient", email.id)
            self.count += self._outbox.settle_held(batch, email, attempt.reply or "")
        elif isinstance(said, Refused):
            self._settle_refused(batch, Suspect(email, attempt, said), decision)
        elif decision.fate is Fate.POSTPONE:
            self._outbox.postpone(batch, email, attempt)
        if decision.stops:
            raise reason_to_stop(said)

    def _situation(self, email: Claimed, said: TransmissionError) -> Situation:
        alike = self._refusals.count_with(email, said) if isinstance(said, Refused) else 1
        return Situation(is_cut=self.is_cut, is_further=self._is_further, alike=alike)

    def _settle_sent(self, batch: Batch, email: Claimed, attempt: Try) -> None:
        self.is_accepted = True
        self.count += self._outbox.settle_sent(batch, email, attempt)
        self.is_accepted = False
        self._note_answered(attempt)
        # The server takes mail from us, so it meant the recipients that it refused before.
        suspects = self._refusals.end()
        if suspects:
            self._settle_suspects(batch, suspects, CONTRADICTED)

    def _settle_refused(self, batch: Batch, refused: Suspect, decision: Decision) -> None:
        if decision.fate is Fate.FAILED:
            self._fail(batch, refused)
            self._note_answered(refused.attempt)
            return
        if not self._refusals.is_like(refused.error):
            self._settle_suspects(batch, self._refusals.end(), CONTRADICTED)
        self._refusals.add(refused)
        if decision.fate is Fate.POSTPONE:
            for suspect in self._refusals.take_suspects():
                self._outbox.postpone(batch, suspect.email, suspect.attempt)

    def _settle_suspects(self, batch: Batch, suspects: list[Suspect], situation: Situation) -> None:
        for suspect in suspects:
            decision = decide(suspect.error, situation._replace(tries=suspect.email.tries))
            if decision.fate is Fate.FAILED:
                self._fail(batch, suspect)
            else:
                self._outbox.postpone(batch, suspect.email, suspect.attempt, counts=decision.counts)

    def _fail(self, batch: Batch, refused: Suspect) -> None:
        log.warning("mail: email %d was refused: %s", refused.email.id, redact(refused.attempt.reply))
        self.count += self._outbox.settle_refused(batch, refused.email, refused.attempt)

    def settle_expired(self, batch: Batch, email: Claimed) -> None:
        """Note that *email* was not sent, because it is past its expires_at."""
        self.count += self._outbox.settle_expired(batch, email)

    def end_batch(self, batch: Batch) -> None:
        """Settle the suspects at the end of *batch*: they have failed, or get a second opinion in two minutes."""
        suspects = self._refusals.take_suspects()
        if suspects:
            is_alone = self._refusals.is_single and not self._outbox.has_due()
            self._settle_suspects(batch, suspects, Situation(is_batch_over=True, is_alone=is_alone))

    def drop_suspects(self) -> None:
        """Forget the suspects of a batch that goes back into the queue as it is."""
        self._refusals.take_suspects()

    def note_unavailable(self, error: Unavailable) -> None:
        """Write to the outbox's health that no email can be sent, unless this connection is an extra one or was cut."""
        if self.is_cut:
            return
        if self._is_further:
            self.is_turned_away = True
            log.info("mail: a further connection was turned away, so fewer are used for a while: %s", redact(error))
            return
        pause = self._outbox.health.note_unavailable(error)
        what = "our own configuration is refused" if error.ours else "the server cannot be used"
        log.error("mail: no email can be sent, %s; next try in %d s: %s", what, pause.total_seconds(), redact(error))

    def _note_answered(self, attempt: Try) -> None:
        """Note that the server works, if it has answered an email."""
        if attempt.code is not None and self._outbox.health.note_available():
            log.warning("mail: the SMTP server works again")


def attempt_of(said: Reply | TransmissionError, started_at: datetime, seconds: float) -> Try:
    """Return the row for one try, which took so many *seconds*."""
    return Try(started_at, seconds, _outcome(said), said.code, said.enhanced, said.reply)


def _outcome(said: Reply | TransmissionError) -> str:
    if isinstance(said, Reply):
        return "sent"
    if isinstance(said, Deferred):
        return "uncertain" if said.uncertain else "deferred"
    return "unavailable" if isinstance(said, Unavailable) else "refused"


def redact(text: object) -> str:
    """Return *text* with every address shortened to what lets an operator find it: s…@example.com."""
    return ADDRESS.sub(r"\1…\2", str(text))
