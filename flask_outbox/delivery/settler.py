"""Settler: writes the decision about each email to the outbox and to the log."""

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
    """Settles emails in *outbox*, batch after batch; *is_extra* as in ``Delivery``.

    ``count`` is how many it has settled so far, without the postponed ones.
    """

    def __init__(self, outbox: Outbox, *, is_extra: bool) -> None:
        self._outbox = outbox
        self._is_extra = is_extra
        self._refusals = Refusals()
        self.count = 0
        self.is_cut = False
        # The server has refused this extra connection.
        self.is_refused = False

    def settle(self, batch: Batch, email: Claimed, said: Reply | TransmissionError, attempt: Try) -> None:
        """Decide what becomes of *email* and write it to the outbox; raise Unavailable if the worker must stop sending."""
        # An acceptance is final in every situation, and the usual case.
        decision = decide(said) if isinstance(said, Reply) else decide(said, self._situation(email, said))
        if decision.fate is Fate.SENT:
            self._settle_sent(batch, email, attempt)
        elif decision.fate is Fate.RETRY:
            log.info("email %d was deferred: %s", email.id, redact(said))
            self.count += self._outbox.settle_deferred(batch, email, attempt)
            self._note_answered(attempt)
        elif decision.fate is Fate.HOLD:
            log.info("email %d is held: MAIL_ALLOW_TO does not name its recipient", email.id)
            self.count += self._outbox.settle_held(batch, email, attempt.reply or "")
        elif isinstance(said, Refused):
            self._settle_refused(batch, Suspect(email, attempt, said), decision)
        elif decision.fate is Fate.POSTPONE:
            self._outbox.postpone(batch, email, attempt)
        if decision.stops:
            raise reason_to_stop(said)

    def _situation(self, email: Claimed, said: TransmissionError) -> Situation:
        alike = self._refusals.count_with(email, said) if isinstance(said, Refused) else 1
        return Situation(is_cut=self.is_cut, is_extra=self._is_extra, alike=alike)

    def _settle_sent(self, batch: Batch, email: Claimed, attempt: Try) -> None:
        self.count += self._outbox.settle_sent(batch, email, attempt)
        self._note_answered(attempt)
        # The server accepts mail from us, so its earlier refusals meant the recipients.
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
        log.warning("email %d was refused: %s", refused.email.id, redact(refused.attempt.reply))
        self.count += self._outbox.settle_refused(batch, refused.email, refused.attempt)

    def settle_known(self, batch: Batch, email: Claimed, attempt: Try) -> None:
        """Record that the server accepted *email* in an earlier *attempt*."""
        self.count += self._outbox.settle_sent(batch, email, attempt)

    def settle_expired(self, batch: Batch, email: Claimed) -> None:
        """Record that *email* has expired."""
        self.count += self._outbox.settle_expired(batch, email)

    def end_batch(self, batch: Batch) -> None:
        """Settle the suspects at the end of *batch*: each one fails, or is tried once more in two minutes."""
        suspects = self._refusals.take_suspects()
        if suspects:
            is_alone = self._refusals.is_single and not self._outbox.has_due()
            self._settle_suspects(batch, suspects, Situation(is_batch_over=True, is_alone=is_alone))

    def drop_suspects(self) -> None:
        """Forget the suspects of a batch that is released."""
        self._refusals.take_suspects()

    def note_unavailable(self, error: Unavailable) -> None:
        """Record in the outbox's health that no email can be sent; ignored for an extra connection, and after a cut."""
        if self.is_cut:
            return
        if self._is_extra:
            self.is_refused = True
            log.info("the SMTP server refused an extra connection, so fewer are used for a while: %s", redact(error))
            return
        pause = self._outbox.health.note_unavailable(error)
        what = "our own configuration is refused" if error.ours else "the SMTP server cannot be used"
        log.error("no email can be sent, %s; next try in %d s: %s", what, pause.total_seconds(), redact(error))

    def _note_answered(self, attempt: Try) -> None:
        """Record that the server works, if it has answered."""
        if attempt.code is not None and self._outbox.health.note_available():
            log.warning("the SMTP server works again")


def attempt_of(said: Reply | TransmissionError, started_at: datetime, seconds: float) -> Try:
    """Return the record of one attempt, which took *seconds*."""
    return Try(started_at, seconds, _outcome(said), said.code, said.enhanced, said.reply)


def _outcome(said: Reply | TransmissionError) -> str:
    if isinstance(said, Reply):
        return "sent"
    if isinstance(said, Deferred):
        return "uncertain" if said.uncertain else "deferred"
    return "unavailable" if isinstance(said, Unavailable) else "refused"


def redact(text: object) -> str:
    """Return *text* with every address shortened, as s…@example.com, so that logs hold no full address."""
    return ADDRESS.sub(r"\1…\2", str(text))
