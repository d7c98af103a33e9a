"""deliver(): one pass over what is due, from claim to settle; what a worker, a thread and ``flask mail deliver`` run."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from flasky.mail.conversation import Reply
from flasky.mail.errors import Deferred, Refused, Unavailable
from flasky.mail.outbox import BATCH, LeaseLost, Try, as_try

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from flasky.mail.outbox import Batch, Claimed, Outbox
    from flasky.mail.transport import Transport

log = logging.getLogger("flasky.mail")

SUPPRESSED = Reply(250, "not transmitted: MAIL_SUPPRESS_SEND is on")


class Delivery:
    """Delivers from *outbox* through *transport*; None for the transport pretends, as MAIL_SUPPRESS_SEND asks.

    *ring* is called when a claim was full, so that idle workers join in. It belongs to one thread; ``stop`` and
    ``cut`` may be called from another.
    """

    def __init__(self, outbox: Outbox, transport: Transport | None, ring: Callable[[], None] = lambda: None) -> None:
        self._outbox = outbox
        self._transport = transport
        self._ring = ring
        self._stopped = False
        self._batch: Batch | None = None

    def stop(self) -> None:
        """Ask for the end: the email on the wire is finished, the rest of the batch is given back."""
        self._stopped = True

    def cut(self) -> None:
        """Break the line under the email that is on the wire."""
        if self._transport is not None:
            self._transport.cut()

    def abandon(self) -> None:
        """Give back what is claimed, from another thread, where the delivering one hangs and the process is to end."""
        batch = self._batch
        if batch is not None:
            self._outbox.release_lease(batch.token)

    def close(self) -> None:
        """Give back both connections."""
        if self._transport is not None:
            self._transport.close()
        self._outbox.close()

    def rest(self) -> None:
        """Close what nobody has used for a while."""
        if self._transport is not None:
            self._transport.rest()

    def run(self, seconds: float = float("inf")) -> int:
        """Recover lost leases, then deliver what is due until nothing is or *seconds* are up; return how many were settled."""
        end = time.monotonic() + seconds
        recovered = self._outbox.recover()
        if recovered:
            log.warning("mail: %d emails of a worker that stopped in the middle go out again", recovered)
        count = 0
        while not self._stopped and time.monotonic() < end and not self._outbox.is_resting():
            batch = self._outbox.claim()
            if batch is None:
                break
            if len(batch.open) == BATCH:
                self._ring()
            settled, goes_on = self._deliver(batch, end)
            count += settled
            if not goes_on:
                break
        return count

    def _deliver(self, batch: Batch, end: float) -> tuple[int, bool]:
        """Return how many emails of *batch* were settled, and whether another batch makes sense."""
        self._batch, count = batch, 0
        try:
            for email in list(batch.open.values()):
                if self._stopped or time.monotonic() >= end:
                    return count, False
                self._outbox.guard(batch)
                count += self._deliver_one(batch, email)
        except LeaseLost:
            log.warning("mail: this worker was held up past its lease; another has its emails now")
            batch.open.clear()
        except Unavailable as error:
            self._outbox.release(batch)
            rest = self._outbox.note_unavailable(error)
            log.error("mail: no email can be sent, next try in %d s: %s", rest.total_seconds(), error)
            return count, False
        finally:
            self._outbox.release(batch)
            self._batch = None
        return count, True

    def _deliver_one(self, batch: Batch, email: Claimed) -> bool:
        started_at, begun = batch.now(), time.monotonic()
        if email.expires_at is not None and email.expires_at <= started_at:
            return self._outbox.settle_expired(batch, email)
        try:
            reply = self._transmit(batch, email)
        except Refused as error:
            one = as_try(started_at, time.monotonic() - begun, "refused", error)
            log.warning("mail: email %d was refused: %s", email.id, error)
            return self._outbox.settle_refused(batch, email, one)
        except Deferred as error:
            one = as_try(started_at, time.monotonic() - begun, "uncertain" if error.uncertain else "deferred", error)
            log.info("mail: email %d was put off: %s", email.id, error)
            return self._outbox.settle_deferred(batch, email, one)
        return self._settle_sent(batch, email, started_at, time.monotonic() - begun, reply)

    def _transmit(self, batch: Batch, email: Claimed) -> Reply:
        letter = self._outbox.letter(batch, email)
        if letter.source is None:
            message = "the message has been erased, so it cannot be sent"
            raise Refused(message)
        if self._transport is None:
            return SUPPRESSED
        return self._transport.transmit(
            letter.sender,
            email.recipient,
            letter.source,
            smtputf8=not (email.recipient.isascii() and letter.sender.isascii()),
            guard=lambda: self._outbox.guard(batch),
        )

    def _settle_sent(self, batch: Batch, email: Claimed, started_at: datetime, seconds: float, reply: Reply) -> bool:
        one = Try(started_at, seconds, "sent", reply.code, None, reply.text)
        settled = self._outbox.settle_sent(batch, email, one)
        if self._outbox.note_available():
            log.warning("mail: the SMTP server works again")
        return settled
