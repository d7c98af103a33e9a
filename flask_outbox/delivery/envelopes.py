"""Makes the envelope of a claimed email: the sender and the bytes of its message, for its recipient."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import Refused
from ..smtp.envelope import Envelope

if TYPE_CHECKING:
    from ..store.lease import Batch, Claimed
    from ..store.outbox import Outbox


def envelope_of(outbox: Outbox, batch: Batch, email: Claimed) -> Envelope:
    """Return the envelope of *email*, and load its message if necessary; raise Refused if the message has been erased."""
    stored = outbox.load_message(batch, email)
    if stored.source is None:
        raise Refused("the message has been erased, so it cannot be sent")
    return Envelope(stored.sender, email.recipient, stored.source)


def following_envelope(batch: Batch, email: Claimed | None) -> Envelope | None:
    """Return the envelope of the following *email*, or None if it has expired or its message is too large to be loaded yet."""
    if email is None or (email.expires_at is not None and email.expires_at <= batch.now()):
        return None
    stored = batch.messages.get(email.content_id)
    return Envelope(stored.sender, email.recipient, stored.source) if stored and stored.source is not None else None
