"""Record what operators do: who did what, when, from where, and to which emails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ..database.clock import database_now
from ..models import NAME_LENGTH, audited, audits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.engine import Connection

# As long as the columns.
ADDRESS_LENGTH, ACTION_LENGTH = 100, 20


def record(  # noqa: PLR0913 - as many as an action has facts
    connection: Connection,
    *,
    actor: str,
    address: str,
    action: str,
    emails: Iterable[int] = (),
    detail: str | None = None,
    search: str | None = None,
) -> int:
    """Record an action in the caller's transaction, and return its id in the audit.

    *actor* is who acts, *address* the IP address, *action* the word for it (``Action.value``). *emails* are the ids of the emails
    that it changes or shows; then the action is complete. An action without them is complete too, unless it has a *search*: then
    the emails follow one transaction at a time. *detail* says in words what else there is to say.
    """
    ids = sorted(set(emails))
    values = {
        "actor": actor[:NAME_LENGTH],
        "address": address[:ADDRESS_LENGTH],
        "action": action[:ACTION_LENGTH],
        "detail": detail,
        "search": search,
        "expected": len(ids),
        "changed": len(ids),
        "finished_at": database_now(connection) if ids or search is None else None,
    }
    inserted: Any = connection.execute(sa.insert(audits).values(values)).inserted_primary_key
    audit_id: int = inserted[0]
    add_emails(connection, audit_id, ids)
    return audit_id


def add_emails(connection: Connection, audit_id: int, ids: Iterable[int]) -> None:
    """Record that the action *audit_id* has changed the emails with these *ids*."""
    rows = [{"audit_id": audit_id, "email_id": email_id} for email_id in ids]
    if rows:
        connection.execute(sa.insert(audited), rows)
