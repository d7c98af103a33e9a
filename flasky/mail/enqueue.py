"""Put messages into the outbox: one row for each recipient, in the caller's transaction where there is one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from flask import current_app
from sqlalchemy.orm import Session

from flasky.mail.compose import compose
from flasky.mail.errors import InvalidMessage
from flasky.mail.mime import write
from flasky.mail.models import ADDRESS_LENGTH, KEY_LENGTH, Content, Email, Priority
from flasky.mail.transaction import is_in_progress, join

if TYPE_CHECKING:
    from flask_mail import Message

    from flasky.mail.address import type_of_address
    from flasky.mail.mime import Wire


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
    _check(wire, send_at, expires_at, key)
    session: Session = current_app.extensions["sqlalchemy"].session()
    joins = is_in_progress(session)
    there = _existing(session, key, wire) if key else {}
    missing = [one for one in wire.recipients if one.envelope not in there]
    if not missing:
        return [there[one.envelope] for one in wire.recipients]
    now = datetime.now(UTC)
    content = Content(
        message_id=wire.message_id,
        sender=wire.sender.envelope,
        subject=wire.subject,
        source=wire.source,
        size=len(wire.source),
        secret=secret,
        created_at=now,
    )
    new = {
        one.envelope: Email(
            content=content,
            recipient=one.envelope,
            priority=int(priority),
            send_at=send_at or now,
            expires_at=expires_at,
            key=key,
            created_at=now,
        )
        for one in missing
    }
    try:
        _store(session, list(new.values()), message, joins=joins, savepoint=key is not None)
    except sa.exc.IntegrityError:
        # Somebody else enqueued the same key at the same moment: theirs is the one.
        there = _existing(session, key, wire) if key else {}
        if len(there) < len(wire.recipients):
            raise
        return [there[one.envelope] for one in wire.recipients]
    return [(there | new)[one.envelope] for one in wire.recipients]


def _check(wire: Wire, send_at: datetime | None, expires_at: datetime | None, key: str | None) -> None:
    for name, value in (("send_at", send_at), ("expires_at", expires_at)):
        if value is not None and (not isinstance(value, datetime) or value.tzinfo is None):
            message = f"{name} is {value!r}: pass an aware datetime, for example datetime.now(UTC) + timedelta(hours=1)"
            raise InvalidMessage(message)
    if key is not None and (not key or len(key) > KEY_LENGTH or not key.isprintable()):
        message = f"the key is {key!r}: use 1 to {KEY_LENGTH} printable characters"
        raise InvalidMessage(message)
    if len(wire.message_id) > ADDRESS_LENGTH:
        message = f"the Message-ID has {len(wire.message_id)} characters: {ADDRESS_LENGTH} at most"
        raise InvalidMessage(message)


def _existing(session: Session, key: str | None, wire: Wire) -> dict[str, Email]:
    recipients = [one.envelope for one in wire.recipients]
    with session.no_autoflush:
        found = session.scalars(sa.select(Email).where(Email.key == key, Email.recipient.in_(recipients)))
        return {email.recipient: email for email in found}


def _store(session: Session, new: list[Email], message: Message, *, joins: bool, savepoint: bool) -> None:
    if joins:
        if savepoint:
            # A key that was taken meanwhile must not break the caller's transaction.
            session.flush()
            with session.begin_nested():
                session.add_all(new)
        else:
            session.add_all(new)
        join(session, new, message)
        return
    # Committing what was only read would make every object of the caller's load again.
    expires, session.expire_on_commit = session.expire_on_commit, False
    try:
        session.add_all(new)
        join(session, new, message)
        session.commit()
    except BaseException:
        session.rollback()
        raise
    finally:
        session.expire_on_commit = expires
