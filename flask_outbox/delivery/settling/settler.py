"""Settler: writes the decision about each email to the outbox and to the log."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ...errors import Deferred, Refused, Unavailable
from ...events import facts
from ...events import log as events
from ...smtp.envelope import Reply
from ...smtp.replies import asks_to_slow_down, is_about_content
from ...store.database.connection import reason
from ...store.evidence import THROTTLED
from ...store.outbox import Try
from ...store.sendings import HELD
from .decision import Decision, Fate, Situation, decide, reason_to_stop
from .refusals import Refusals, SendingRefusals, Suspect

if TYPE_CHECKING:
    from datetime import datetime

    from ...errors import TransmissionError
    from ...events import Event
    from ...store.lease import Batch, Claimed
    from ...store.outbox import Outbox
    from ..speed.pace import Pace

log = logging.getLogger(__name__)

CONTRADICTED = Situation(is_contradicted=True)
# After so many requests to slow down, all because of one email, it is deferred like any other: it must not slow down the others.
MOST_THROTTLED = 5
ADDRESS = re.compile(r"([^\s<>@])[^\s<>@]*(@[^\s<>:;,]+)")


class Settler:
    """Settles emails in *outbox*, batch after batch, and keeps *pace*; *is_extra* as in ``Delivery``.

    ``count`` is how many it has settled so far, without the postponed ones.
    """

    def __init__(self, outbox: Outbox, pace: Pace, *, is_extra: bool) -> None:
        self._outbox = outbox
        self._pace = pace
        self._is_extra = is_extra
        self._refusals, self._sendings = Refusals(), SendingRefusals()
        # The reply that last asked to slow down.
        self._throttled = ""
        self.count = 0
        self.is_cut = False
        # The server has refused this extra connection.
        self.is_refused = False

    def rehearse(self) -> str:
        """Rehearse a settle before the first claim, and after each settle that failed; return why it fails, or nothing.

        What cannot be recorded must not be sent: it would go out again and again.
        """
        try:
            if not self._outbox.acceptances.can_record:
                self._outbox.rehearse()
        except sa.exc.DBAPIError as error:
            if error.connection_invalidated:
                raise
            obstacle = f"the database cannot record what is sent, so nothing is sent: {reason(error)}"
        else:
            return ""
        self._outbox.health.note_unavailable(Unavailable(obstacle, ours=True))
        log.error("no email can be sent: %s", obstacle, extra=facts("unavailable"))
        return obstacle

    def settle(self, batch: Batch, email: Claimed, said: Reply | TransmissionError, attempt: Try) -> None:
        """Decide what becomes of *email* and write it to the outbox; raise Unavailable if the worker must stop sending."""
        # An acceptance is final in every situation, and the usual case.
        decision = decide(said) if isinstance(said, Reply) else decide(said, self._situation(email, said))
        if decision.fate is Fate.SENT:
            self._settle_sent(batch, email, attempt)
        elif decision.fate is Fate.RETRY:
            log.info("email %d was deferred: %s", email.id, redact(said), extra=_about("deferred", batch, email))
            self.count += self._outbox.settle_deferred(batch, email, attempt)
        elif decision.fate is Fate.SLOW_DOWN:
            self._slow_down(attempt.said, attempt.seconds)
            # Longer than the pause: the next email shows whether the server means this one or all.
            wait = timedelta(seconds=2 * self._pace.pause)
            self._outbox.postpone(batch, email, replace(attempt, outcome=THROTTLED), wait)
        elif decision.fate is Fate.HOLD:
            log.info("email %d is held: MAIL_ALLOW_TO does not name its recipient", email.id, extra=_about("held", batch, email))
            self.count += self._outbox.settle_held(batch, email, attempt.reply or "")
        elif isinstance(said, Refused):
            self._settle_refused(batch, Suspect(email, attempt, said), decision)
        elif decision.fate is Fate.POSTPONE:
            self._outbox.postpone(batch, email, attempt)
        if decision.stops:
            raise reason_to_stop(said)

    def _situation(self, email: Claimed, said: TransmissionError) -> Situation:
        situation = Situation(is_cut=self.is_cut, is_extra=self._is_extra)
        if isinstance(said, Refused):
            return self._about_sending(email, said, situation._replace(alike=self._refusals.count_with(email, said)))
        if asks_to_slow_down(said) and not self._pace.is_blocked:
            return situation._replace(is_singled_out=self._outbox.evidence.count_throttled(email) >= MOST_THROTTLED)
        return situation

    def _about_sending(self, email: Claimed, error: Refused, situation: Situation) -> Situation:
        if error.code is None:
            return situation
        if self._sendings.add(email, error):
            return situation._replace(is_sending_refused=True)
        if not is_about_content(error):
            return situation
        sendings = self._outbox.sendings
        return situation._replace(is_sending_refused=sendings.is_held(email), has_siblings=sendings.has_others(email))

    def _settle_sent(self, batch: Batch, email: Claimed, attempt: Try) -> None:
        self.count += self._outbox.settle_sent(batch, email, attempt)
        if events.isEnabledFor(logging.DEBUG):
            events.debug("email %d was accepted: %s", email.id, redact(attempt.said), extra=_about("accepted", batch, email))
        self._note_available()
        if self._pace.note_accepted(attempt.seconds):
            self._outbox.slowdown.note(self._pace.speed, self._throttled)
        self._sendings.note_accepted(email)
        # The server accepts mail from us, so its earlier refusals meant the recipients.
        suspects = self._refusals.end()
        if suspects:
            self._settle_suspects(batch, suspects, CONTRADICTED)

    def _slow_down(self, reply: str, seconds: float) -> None:
        """Send less, because the server asked for that in reply to an email that took *seconds*."""
        is_first = not self._pace.is_slowed
        if not self._pace.note_throttled(seconds):
            return
        self._throttled = reply
        self._outbox.slowdown.note(self._pace.speed, reply)
        if is_first:
            log.warning("the SMTP server asks this worker to slow down: %s", redact(reply), extra=facts("throttled"))

    def _settle_refused(self, batch: Batch, refused: Suspect, decision: Decision) -> None:
        if decision.fate is Fate.FAILED:
            self._fail(batch, refused)
            if refused.error.code is not None:
                self._note_available()
            return
        if not self._refusals.is_like(refused.error):
            self._settle_suspects(batch, self._refusals.end(), CONTRADICTED)
        self._refusals.add(refused)
        if decision.fate is Fate.POSTPONE:
            for suspect in self._refusals.take_suspects():
                self._outbox.postpone(batch, suspect.email, suspect.attempt)
        elif decision.fate is Fate.HOLD_SENDING:
            self._hold_sending(batch, refused)

    def _hold_sending(self, batch: Batch, refused: Suspect) -> None:
        """Hold the suspects of the sending, and what is queued of it; release the rest of the batch, which may be part of it."""
        email, reply, held = refused.email, refused.attempt.said, 0
        for suspect in self._refusals.end():
            if suspect.email.sending == email.sending:
                held += self._outbox.settle_held(batch, suspect.email, f"{HELD}: {suspect.attempt.said}", suspect.attempt)
            else:
                self._outbox.postpone(batch, suspect.email, suspect.attempt)
        self.count += held
        self._outbox.release(batch)
        held += self._outbox.sendings.hold(email, reply)
        message = "the server refuses a sending: its %d emails are held, among them %d: %s"
        log.error(message, held, email.id, redact(reply), extra=_about("held", batch, email))

    def _settle_suspects(self, batch: Batch, suspects: list[Suspect], situation: Situation) -> None:
        stops = None
        for suspect in suspects:
            decision = decide(suspect.error, self._with_evidence(suspect, situation))
            if decision.fate is Fate.FAILED:
                self._fail(batch, suspect)
            else:
                self._outbox.postpone(batch, suspect.email, suspect.attempt)
            if decision.stops:
                stops = suspect.error
        if stops is not None:
            raise reason_to_stop(stops)

    def _with_evidence(self, suspect: Suspect, situation: Situation) -> Situation:
        is_refused_before, accepts_others = self._outbox.evidence.is_refused_before(suspect.email)
        has_siblings = is_about_content(suspect.error) and self._outbox.sendings.has_others(suspect.email)
        return situation._replace(is_refused_before=is_refused_before, accepts_others=accepts_others, has_siblings=has_siblings)

    def _fail(self, batch: Batch, refused: Suspect) -> None:
        extra = _about("failed", batch, refused.email)
        log.warning("email %d was refused: %s", refused.email.id, redact(refused.attempt.reply), extra=extra)
        self.count += self._outbox.settle_refused(batch, refused.email, refused.attempt)

    def settle_known(self, batch: Batch, email: Claimed, attempt: Try) -> None:
        """Record that the server accepted *email* in an earlier *attempt*."""
        self.count += self._outbox.settle_sent(batch, email, attempt)

    def settle_expired(self, batch: Batch, email: Claimed) -> None:
        """Record that *email* has expired."""
        self.count += self._outbox.settle_expired(batch, email)
        log.info("email %d has expired", email.id, extra=_about("expired", batch, email))

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
        """Record in the outbox's health that no email can be sent; ignored for an extra connection, and after a cut.

        A server that asks for less mail, or fewer connections, is not unavailable.
        """
        if self.is_cut:
            return
        if self._is_extra:
            self.is_refused = True
            log.info("the SMTP server refused an extra connection, so fewer are used for a while: %s", redact(error))
            return
        if asks_to_slow_down(error):
            self._slow_down(str(error), 0)
            return
        pause = self._outbox.health.note_unavailable(error)
        what = "our own configuration is refused" if error.ours else "the SMTP server cannot be used"
        message = "no email can be sent, %s; next try in %d s: %s"
        log.error(message, what, pause.total_seconds(), redact(error), extra=facts("unavailable"))

    def _note_available(self) -> None:
        """Record that the server works: it has accepted an email, or refused a recipient."""
        if self._outbox.health.note_available():
            log.warning("the SMTP server works again", extra=facts("available"))


def _about(event: Event, batch: Batch, email: Claimed) -> dict[str, Any]:
    """Return the fields of a log record about *email*."""
    return facts(event, email.id, batch.trail_of(email).request_id)


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
