"""Send a stored email again, as a new one: to the same recipient, or to an operator who wants to see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ...message.renewal import renew
from ..database.sqlite_lock import take_write_lock
from ..models import NAME_LENGTH, Status, contents, emails
from .actions import NotPossible
from .audit import record

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine

    from ...origin import Origin
    from .operator import Operator

COPY = "[copy] "


def send_again(engine: Engine, email_id: int, operator: Operator, origin: Origin) -> int:
    """Put the message of a sent email into the outbox again, for the same recipient, and return the new email's id.

    Raises NotPossible for a secret email, and for one that was not sent: that one can be retried. *origin* is the request of the
    operator.
    """
    with engine.begin() as connection:
        take_write_lock(connection)
        old = _load(connection, email_id, "sent again")
        if old.status != Status.SENT.value:
            raise NotPossible(f"email {email_id} cannot be sent again: it is {old.status}, and was not sent yet")
        return _insert(connection, old, operator, origin, action="send again", recipient=old.recipient)


def send_copy(engine: Engine, email_id: int, operator: Operator, origin: Origin, recipient: str) -> int:
    """Send a copy of an email to *recipient*, the operator's address, and return its id; raise NotPossible for a secret one.

    "[copy]" stands before its subject. Its body is unchanged.
    """
    with engine.begin() as connection:
        take_write_lock(connection)
        old = _load(connection, email_id, "copied")
        subject = old.subject if old.subject.startswith(COPY) else COPY + old.subject
        return _insert(connection, old, operator, origin, action="send to me", recipient=recipient, subject=subject)


def _load(connection: Connection, email_id: int, done: str) -> Any:
    columns = [emails.c[name] for name in ("id", "recipient", "status", "priority", "template")]
    columns += [contents.c[name] for name in ("sender", "subject", "source", "secret")]
    row = connection.execute(sa.select(*columns).join_from(emails, contents).where(emails.c.id == email_id)).one_or_none()
    if row is None:
        raise NotPossible(f"there is no email {email_id}")
    if row.secret or row.source is None:
        raise NotPossible(f"email {email_id} cannot be {done}: it is secret. Let the app write a new one")
    return row


def _insert(  # noqa: PLR0913 - one row of three tables
    connection: Connection, old: Any, operator: Operator, origin: Origin, *, action: str, recipient: str, subject: str | None = None
) -> int:
    renewed = renew(old.source, old.sender, subject=subject)
    content = {
        "message_id": renewed.message_id,
        "sender": old.sender,
        "subject": old.subject if subject is None else subject,
        "source": renewed.source,
        "size": len(renewed.source),
        "request_id": (origin.request_id or "")[:NAME_LENGTH] or None,
        "origin": (origin.what or "")[:NAME_LENGTH] or None,
    }
    content_id = connection.execute(sa.insert(contents).values(content).returning(contents.c.id)).scalar_one()
    envelope = {"content_id": content_id, "recipient": recipient, "priority": old.priority, "template": old.template}
    new_id: int = connection.execute(sa.insert(emails).values(envelope).returning(emails.c.id)).scalar_one()
    detail = f"email {old.id} as email {new_id}"
    record(connection, actor=operator.name, address=operator.address, action=action, emails=[old.id, new_id], detail=detail)
    return new_id
