"""Store a written message in the outbox: one row for each recipient, in the caller's transaction if one is in progress."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, make_transient_to_detached

from ..errors import InvalidMessage
from .models import KEY_LENGTH, NAME_LENGTH, Content, Email, Status
from .transaction import Entry, Owner, is_in_progress, join

if TYPE_CHECKING:
    from flask_mail import Message

    from ..message.writer import WrittenMessage
    from ..origin import Origin
    from .statements import InsertStatements

# The largest SMALLINT.
LARGEST_PRIORITY = 32767


class Enqueuer:
    """Stores messages for one app, with its INSERT *statements*; notifies *owner* when a transaction ends."""

    def __init__(self, statements: InsertStatements, owner: Owner) -> None:
        self._statements = statements
        self._owner = owner

    def enqueue(
        self, session: Session, message: Message, written: WrittenMessage, fields: dict[str, Any], origin: Origin, *, secret: bool
    ) -> list[Email]:
        """Store *written* through *session*, and return one Email for each recipient.

        *fields* are the columns of ``Email`` that all recipients share, from ``envelope_values``, and *origin* is the request or
        command that it comes from. With work in progress the emails join it, else they are committed at once. If an email with the
        same key and recipient exists, that one is returned.
        """
        key = fields["key"]
        joins = is_in_progress(session)
        if joins and key:
            # An error in the caller's own rows must not be mistaken for a key that exists.
            session.flush()
        existing = _existing(session, key, written)
        while missing := [address.envelope for address in written.recipients if address.envelope not in existing]:
            new = _make(missing, fields, content_values(written, origin, secret=secret))
            try:
                self._store(session, list(new.values()), message, joins=joins)
            except sa.exc.IntegrityError:
                # Another process has enqueued the same key at the same moment: return its email.
                found = _existing(session, key, written)
                if found.keys() <= existing.keys():
                    raise
                existing = found
            else:
                existing |= new
        return [existing[address.envelope] for address in written.recipients]

    def _store(self, session: Session, new: list[Email], message: Message, *, joins: bool) -> None:
        # Before the database sets it: its clock may be ahead of ours.
        entry = Entry(message, new, new[0].send_at)
        if joins:
            # A key that was taken meanwhile must not break the caller's transaction.
            with session.begin_nested() if new[0].key else nullcontext():
                session.add_all(new)
            join(session, entry, self._owner)
            return
        # The commit must not expire the caller's objects: the session would load them all again.
        expires, session.expire_on_commit = session.expire_on_commit, False
        try:
            connection = session.connection(bind_arguments={"mapper": sa.inspect(Email)})
            self._statements.execute(connection, new)
            join(session, entry, self._owner)
            session.commit()
        except BaseException:
            session.rollback()
            raise
        finally:
            session.expire_on_commit = expires
        for stored in (new[0].content, *new):
            make_transient_to_detached(stored)
        session.add_all(new)


def envelope_values(
    *,
    send_at: datetime | None = None,
    expires_at: datetime | None = None,
    priority: int,
    key: str | None = None,
    template: str | None = None,
) -> dict[str, Any]:
    """Return the columns of ``Email`` that are the same for every recipient; raise InvalidMessage for an impossible value.

    Without *send_at* the database sets the times, by its own clock.
    """
    first = _moment(send_at, "send_at")
    return {
        "status": Status.QUEUED.value,
        "tries": 0,
        "priority": _priority(priority),
        "expires_at": _moment(expires_at, "expires_at"),
        "key": _key(key),
        "template": cut(template),
    } | ({} if first is None else {"send_at": first, "due_since": first})


def content_values(written: WrittenMessage, origin: Origin, *, secret: bool = False) -> dict[str, Any]:
    """Return the columns of ``Content`` for a written message."""
    return {
        "message_id": written.message_id,
        "sender": written.sender.envelope,
        "subject": written.subject,
        "source": written.source,
        "size": len(written.source),
        "secret": secret,
        "request_id": cut(origin.request_id),
        "origin": cut(origin.what),
        "traceparent": origin.traceparent,
    }


def cut(name: str | None) -> str | None:
    """Return as much of *name* as its column takes."""
    return name and name[:NAME_LENGTH]


def _priority(value: int) -> int:
    if not isinstance(value, int) or abs(value) > LARGEST_PRIORITY:
        message = f"the priority is {value!r:.100}: use Priority.URGENT, NORMAL or BULK, or a whole number beside them"
        raise InvalidMessage(message)
    return int(value)


def _moment(value: datetime | None, name: str) -> datetime | None:
    if value is None:
        return None
    try:
        if isinstance(value, datetime) and value.utcoffset() is not None:
            return value.astimezone(UTC)
    except OverflowError:
        pass
    message = f"{name} is {value!r:.100}: pass an aware datetime, for example datetime.now(UTC) + timedelta(hours=1)"
    raise InvalidMessage(message)


def _key(value: str | None) -> str | None:
    if value is not None and not (isinstance(value, str) and 0 < len(value) <= KEY_LENGTH and value.isprintable()):
        message = f"the key is {value!r:.100}: use 1 to {KEY_LENGTH} printable characters"
        raise InvalidMessage(message)
    return value


def _existing(session: Session, key: str | None, written: WrittenMessage) -> dict[str, Email]:
    if key is None:
        return {}
    recipients = [address.envelope for address in written.recipients]
    found = session.scalars(sa.select(Email).where(Email.key == key, Email.recipient.in_(recipients)))
    return {email.recipient: email for email in found}


def _make(recipients: list[str], fields: dict[str, Any], values: dict[str, Any]) -> dict[str, Email]:
    content = Content(**values)
    return {
        recipient: Email(content=content, recipient=recipient, recipient_lower=recipient.lower(), **fields)
        for recipient in recipients
    }
