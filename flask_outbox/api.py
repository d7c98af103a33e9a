"""Put messages into the outbox: one row for each recipient, in the caller's transaction where there is one."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from flask import current_app
from sqlalchemy.orm import Session, make_transient_to_detached

from .errors import InvalidMessage
from .message.templates import compose
from .message.writer import write
from .store.models import KEY_LENGTH, Content, Email, Priority, Status
from .store.transaction import is_in_progress, join

if TYPE_CHECKING:
    from flask_mail import Message

    from .message.address import type_of_address
    from .message.writer import Wire

# What fits a SMALLINT.
MOST_PRIORITY = 32767


def send_email(to: type_of_address, subject: str, template: str, /, **context: Any) -> Email:
    """Render ``template.txt`` and ``template.html`` for one recipient and put the email into the outbox.

    The names are positional, so that a template may have variables called ``to``, ``subject`` or ``template``. Raises
    InvalidMessage, and stores nothing, where the email could never be sent.
    """
    return enqueue(compose(to, subject, template, **context))[0]


def enqueue(
    message: Message,
    *,
    send_at: datetime | None = None,
    expires_at: datetime | None = None,
    priority: int = Priority.NORMAL,
    key: str | None = None,
    secret: bool = False,
) -> list[Email]:
    """Put *message* into the outbox, and return one Email for each recipient.

    With work in progress in ``db.session`` the emails join that transaction and go out when it is committed; with
    none, they are committed at once. *send_at* and *expires_at* are aware datetimes. The same *key* and recipient again
    return the email that is there. The body of a *secret* message is never shown, and erased once it is final.
    Raises InvalidMessage, and stores nothing, where the message could never be sent.
    """
    wire = write(message)
    fields = envelope_values(send_at=send_at, expires_at=expires_at, priority=priority, key=key)
    session: Session = current_app.extensions["sqlalchemy"].session()
    joins = is_in_progress(session)
    if joins and key:
        # What is wrong with the caller's own rows must not be taken for a key that is there.
        session.flush()
    there = _existing(session, key, wire)
    while missing := [one.envelope for one in wire.recipients if one.envelope not in there]:
        new = _make(wire, missing, fields, secret=secret)
        try:
            _store(session, list(new.values()), message, joins=joins)
        except sa.exc.IntegrityError:
            # Somebody else enqueued the same key at the same moment: theirs is the one.
            found = _existing(session, key, wire)
            if found.keys() <= there.keys():
                raise
            there = found
        else:
            there |= new
    return [there[one.envelope] for one in wire.recipients]


def envelope_values(*, send_at: datetime | None, expires_at: datetime | None, priority: int, key: str | None) -> dict[str, Any]:
    """Return the columns of ``Email`` that are the same for every recipient; raise InvalidMessage for a value that cannot be."""
    now = datetime.now(UTC)
    first = _moment(send_at, "send_at") or now
    return {
        "status": Status.QUEUED.value,
        "tries": 0,
        "priority": _priority(priority),
        "send_at": first,
        "due_since": first,
        "expires_at": _moment(expires_at, "expires_at"),
        "key": _key(key),
        "created_at": now,
    }


def content_values(wire: Wire, *, secret: bool = False) -> dict[str, Any]:
    """Return the columns of ``Content`` for a written message."""
    return {
        "message_id": wire.message_id,
        "sender": wire.sender.envelope,
        "subject": wire.subject,
        "source": wire.source,
        "size": len(wire.source),
        "secret": secret,
    }


def _priority(value: int) -> int:
    if not isinstance(value, int) or abs(value) > MOST_PRIORITY:
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


def _existing(session: Session, key: str | None, wire: Wire) -> dict[str, Email]:
    if key is None:
        return {}
    recipients = [one.envelope for one in wire.recipients]
    found = session.scalars(sa.select(Email).where(Email.key == key, Email.recipient.in_(recipients)))
    return {email.recipient: email for email in found}


def _make(wire: Wire, recipients: list[str], fields: dict[str, Any], *, secret: bool) -> dict[str, Email]:
    content = Content(**content_values(wire, secret=secret), created_at=fields["created_at"])
    return {recipient: Email(content=content, recipient=recipient, **fields) for recipient in recipients}


def _store(session: Session, new: list[Email], message: Message, *, joins: bool) -> None:
    if joins:
        # A key that was taken meanwhile must not break the caller's transaction.
        with session.begin_nested() if new[0].key else nullcontext():
            session.add_all(new)
        join(session, new, message)
        return
    # Committing what was only read would make every object of the caller's load again.
    expires, session.expire_on_commit = session.expire_on_commit, False
    try:
        connection = session.connection(bind_arguments={"mapper": sa.inspect(Email)})
        current_app.extensions["mail"].insertion.execute(connection, new)
        join(session, new, message)
        session.commit()
    except BaseException:
        session.rollback()
        raise
    finally:
        session.expire_on_commit = expires
    for one in (new[0].content, *new):
        make_transient_to_detached(one)
    session.add_all(new)
