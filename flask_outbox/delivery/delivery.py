"""deliver(): one pass over what is due, from claim to settle; what a worker, a thread and ``flask mail deliver`` run."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ..errors import Deferred, Held, Refused, Unavailable
from ..smtp.conversation import Envelope, Reply
from ..store.outbox import BATCH, LeaseLost, Try
from .refusals import Suspicion

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ..errors import TransmissionError
    from ..smtp.transport import Transport
    from ..store.outbox import Batch, Claimed, Outbox
    from .rate import Rate

log = logging.getLogger(__name__)

SUPPRESSED = Reply(250, "not transmitted: MAIL_SUPPRESS_SEND is on")
ADDRESS = re.compile(r"([^\s<>@])[^\s<>@]*(@[^\s<>:;,]+)")
# How long a batch may take, in seconds: an urgent email that comes meanwhile goes first in the next.
LONGEST_BATCH = 1.0
# How often what a dead worker has left behind is looked for, in seconds.
RECOVER_EVERY = 1.0
# A server that takes this long over each of so many emails in a row, in seconds, is worth more connections: it is far, or busy.
SLOW, SLOW_IN_A_ROW = 0.02, 8
# Exchange Online's answer to an email over a connection too many.
TOO_MANY_CONNECTIONS = 432
# The longest sleep while MAIL_RATE allows nothing, in seconds; then the pass looks up.
LONGEST_PAUSE = 5.0


class Delivery:
    """Delivers from *outbox* through *transport*; None for the transport pretends, as MAIL_SUPPRESS_SEND asks.

    *rate* slows it down; *on_backlog* is called when a claim was full, and *is_further* says that another delivers too, so that a
    server which will not have a second connection is no news. It belongs to one thread; ``stop``, ``cut`` and ``abandon`` may
    be called from another. ``size`` is how many emails it claims at a time.
    """

    def __init__(
        self,
        outbox: Outbox,
        transport: Transport | None,
        rate: Rate | None,
        on_backlog: Callable[[], None],
        *,
        is_further: bool = False,
    ) -> None:
        self._outbox = outbox
        self._transport = transport
        self._rate = rate
        self._on_backlog = on_backlog
        self._is_further = is_further
        self.is_turned_away = False
        self._suspicion = Suspicion()
        self._stopped = threading.Event()
        self._is_cut = False
        self._is_accepted = False
        self._batch: Batch | None = None
        self.size = BATCH
        self._seconds: deque[float] = deque(maxlen=SLOW_IN_A_ROW)
        self._recovered_at = float("-inf")

    @property
    def is_slow(self) -> bool:
        """Return whether the server has taken its time over each of the last emails."""
        return len(self._seconds) == SLOW_IN_A_ROW and min(self._seconds) >= SLOW

    def has_due(self) -> bool:
        """Return whether anything is due."""
        return self._outbox.has_due()

    def stop(self) -> None:
        """Ask for the end: the email on the wire is finished, the rest of the batch is given back."""
        self._stopped.set()

    def cut(self) -> None:
        """Break the line under the email that is on the wire; it is given back, unless the server may have it."""
        self._is_cut = True
        if self._transport is not None:
            self._transport.cut()

    def abandon(self) -> None:
        """Give back what is claimed, where the delivering thread hangs and the process is to end.

        Not while an acceptance is being noted: that email is the server's already, and the lease sees to the rest.
        """
        batch = self._batch
        if batch is not None and not self._is_accepted:
            with suppress(sa.exc.SQLAlchemyError):
                self._outbox.release_lease(batch.token)

    def close(self) -> None:
        """Give back both connections."""
        if self._transport is not None:
            self._transport.close()
        self._outbox.close()

    def rest(self, *, give_back: bool = False) -> None:
        """Have everything on the disk, and close a connection to the server that nobody has used for a while.

        With *give_back* the database connection returns to its pool.
        """
        if give_back:
            self._outbox.close()
        else:
            self._outbox.rest()
        if self._transport is not None:
            self._transport.rest()

    def run(self, seconds: float = float("inf")) -> int:
        """Recover lost leases, then deliver what is due until nothing is or *seconds* are up; return how many were settled."""
        end, count, goes_on = time.monotonic() + seconds, 0, True
        self._recover()
        while goes_on and not self._is_over(end) and self._outbox.has_due() and self._may_claim(end):
            limit = 1 if self._rate else self.size
            batch = self._outbox.claim(limit)
            if batch is None:
                break
            claimed = len(batch.open)
            if claimed == limit:
                self._on_backlog()
            settled, goes_on = self._deliver(batch, end)
            count += settled
            # That was all; what has come meanwhile, the next pass claims together.
            goes_on = goes_on and (claimed == limit or settled < claimed)
        return count

    def _recover(self) -> None:
        if time.monotonic() - self._recovered_at < RECOVER_EVERY:
            return
        recovered = self._outbox.recover()
        self._recovered_at = time.monotonic()
        if recovered:
            log.warning("mail: %d emails of a worker that stopped in the middle go out again", recovered)

    def _may_claim(self, end: float) -> bool:
        return not self._outbox.is_resting() and self._is_connected() and self._is_allowed(end)

    def _is_over(self, end: float) -> bool:
        return self._stopped.is_set() or time.monotonic() >= end

    def _is_connected(self) -> bool:
        """Have a connection before anything is claimed: getting one may take longer than a lease."""
        if self._transport is None or self._transport.is_connected:
            return True
        try:
            self._transport.connect()
        except Unavailable as error:
            self._note_unavailable(error)
            return False
        return True

    def _is_allowed(self, end: float) -> bool:
        """Wait until MAIL_RATE lets one email go, with none claimed: the most urgent one then gets the place."""
        if self._rate is None:
            return True
        while not self._is_over(end) and self._outbox.has_due():
            seconds = self._rate.wait()
            if seconds <= 0:
                return True
            self._stopped.wait(min(seconds, LONGEST_PAUSE, max(end - time.monotonic(), 0)))
        return False

    def _deliver(self, batch: Batch, end: float) -> tuple[int, bool]:
        """Return how many emails of *batch* were settled, and whether another batch makes sense."""
        self._batch, count, begun = batch, 0, time.monotonic()
        try:
            count += self._deliver_each(batch, min(end, begun + LONGEST_BATCH))
            count += self._leave_open(batch)
            # As many as there is time for, at this pace.
            self.size = max(1, min(BATCH, int(count * LONGEST_BATCH / (time.monotonic() - begun))))
        except LeaseLost:
            log.warning("mail: this worker was held up past its lease; another has its emails now")
            self._suspicion.release()
            batch.open.clear()
        except Unavailable as error:
            self._suspicion.release()
            self._outbox.release(batch)
            self._note_unavailable(error)
            return count, False
        finally:
            self._outbox.release(batch)
            self._batch = None
        return count, not self._is_over(end)

    def _deliver_each(self, batch: Batch, end: float) -> int:
        count, waiting = 0, iter(list(batch.open.values()))
        email = next(waiting, None)
        while email is not None and not self._stopped.is_set():
            # Decided here, because the envelope of the one that follows goes out with the message of this one.
            following = None if self._is_over(end) else next(waiting, None)
            self._outbox.guard(batch)
            count += self._deliver_one(batch, email, following)
            email = following
        return count

    def _note_unavailable(self, error: Unavailable) -> None:
        if self._is_cut:
            return
        if self._is_further:
            self.is_turned_away = True
            log.info("mail: a further connection was turned away, so fewer are used for a while: %s", _shorten(error))
            return
        rest = self._outbox.note_unavailable(error)
        what = "our own configuration is refused" if error.ours else "the server cannot be used"
        log.error("mail: no email can be sent, %s; next try in %d s: %s", what, rest.total_seconds(), _shorten(error))

    def _deliver_one(self, batch: Batch, email: Claimed, following: Claimed | None) -> int:
        """Return how many emails this has settled: one, none, or with it those that were under suspicion."""
        started_at, begun = batch.now(), time.monotonic()
        if email.expires_at is not None and email.expires_at <= started_at:
            return self._outbox.settle_expired(batch, email)
        try:
            reply = self._transmit(batch, email, following)
        except Held as error:
            log.info("mail: email %d is held: MAIL_ALLOW_TO does not name its recipient", email.id)
            return self._outbox.settle_held(batch, email, error.reply)
        except Refused as error:
            return self._settle_refused(batch, email, error, _as_try(started_at, begun, "refused", error))
        except Deferred as error:
            if self._is_cut and not error.uncertain:
                return 0
            log.info("mail: email %d was put off: %s", email.id, _shorten(error))
            outcome = "uncertain" if error.uncertain else "deferred"
            settled = self._outbox.settle_deferred(batch, email, _as_try(started_at, begun, outcome, error))
            self._note_available(error)
            return settled
        except Unavailable as error:
            if error.over_an_email and not (self._is_cut or self._is_further):
                # Perhaps it is this one's fault after all: if it came first again, it would keep all others from going out.
                self._outbox.postpone(batch, email, _as_try(started_at, begun, "unavailable", error))
            raise
        one = _as_try(started_at, begun, "sent", reply)
        self._seconds.append(one.seconds)
        return self._settle_sent(batch, email, one)

    def _transmit(self, batch: Batch, email: Claimed, following: Claimed | None) -> Reply:
        letter = self._outbox.letter(batch, email)
        if letter.source is None:
            raise Refused("the message has been erased, so it cannot be sent")
        if self._transport is None:
            return SUPPRESSED
        envelope = Envelope(letter.sender, email.recipient, letter.source)
        try:
            return self._transport.transmit(envelope, self._envelope(batch, following), guard=lambda: self._outbox.guard(batch))
        except Deferred as error:
            if self._is_further and error.code == TOO_MANY_CONNECTIONS:
                raise Unavailable(error.reply, error.code) from error
            raise

    def _envelope(self, batch: Batch, email: Claimed | None) -> Envelope | None:
        """Return what can be announced of the *email* that follows: not a large one, which is read when its turn comes."""
        if email is None or (email.expires_at is not None and email.expires_at <= batch.now()):
            return None
        letter = batch.letters.get(email.content_id)
        return Envelope(letter.sender, email.recipient, letter.source) if letter and letter.source is not None else None

    def _settle_sent(self, batch: Batch, email: Claimed, one: Try) -> int:
        self._is_accepted = True
        settled = self._outbox.settle_sent(batch, email, one)
        self._is_accepted = False
        self._note_available(one)
        # It takes mail from us, so what it has refused before was meant for those recipients.
        return settled + self._believe(batch, self._suspicion.clear())

    def _note_available(self, said: Try | TransmissionError) -> None:
        """Note that the server works, which it does where it has answered an email."""
        if said.code is not None and self._outbox.note_available():
            log.warning("mail: the SMTP server works again")

    def _settle_refused(self, batch: Batch, email: Claimed, error: Refused, one: Try) -> int:
        if not self._suspicion.covers(error):
            self._note_available(error)
            return self._believe(batch, [(email, one)])
        settled = 0 if self._suspicion.is_like(error) else self._believe(batch, self._suspicion.clear())
        if self._suspicion.add(email, one, error):
            for suspect, its in self._suspicion.release():
                self._outbox.postpone(batch, suspect, its)
            raise Unavailable(f"{error.reply} (the same to five recipients in a row)", error.code, ours=True)
        return settled

    def _leave_open(self, batch: Batch) -> int:
        """Settle what is under suspicion when a batch ends: a second opinion for what may be one of many, once."""
        held = self._suspicion.release()
        alone = held and self._suspicion.is_single and not self._outbox.has_due()
        believed = [(email, one) for email, one in held if alone or email.tries]
        for email, one in held:
            if (email, one) not in believed:
                self._outbox.postpone(batch, email, one, counts=True)
        return self._believe(batch, believed)

    def _believe(self, batch: Batch, refused: list[tuple[Claimed, Try]]) -> int:
        """Settle refusals that speak of their recipients."""
        for email, one in refused:
            log.warning("mail: email %d was refused: %s", email.id, _shorten(one.reply))
        return sum(self._outbox.settle_refused(batch, email, one) for email, one in refused)


def _as_try(started_at: datetime, begun: float, outcome: str, said: Reply | TransmissionError) -> Try:
    return Try(started_at, time.monotonic() - begun, outcome, said.code, said.enhanced, said.reply)


def _shorten(text: object) -> str:
    """Return *text* with every address in it cut down to what lets an operator find it: s…@example.com."""
    return ADDRESS.sub(r"\1…\2", str(text))
