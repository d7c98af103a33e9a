"""Write what an operator has done to the audit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from ..database.clock import database_now
from ..models import NAME_LENGTH, audited, audits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.engine import Connection


def record(  # noqa: PLR0913 - who, where, what, to which
    connection: Connection,
    *,
    actor: str,
    address: str,
    action: str,
    emails: Iterable[int] = (),
    detail: str | None = None,
    search: str | None = None,
) -> int:
    """Record an action that is finished, and return the id of its entry.

    *actor* is the operator's name and *address* the network address. *emails* are the ids of the emails that the action has
    changed or shown, *search* is the search line that has found them, and *detail* says in words what is not in the other columns.
    """
    ids = sorted(set(emails))
    values = {
        "actor": actor[:NAME_LENGTH],
        "address": address[:100],
        "action": action,
        "search": search,
        "expected": len(ids),
        "changed": len(ids),
        "finished_at": database_now(connection),
        "detail": detail,
    }
    audit_id: int = connection.scalars(sa.insert(audits).values(values).returning(audits.c.id)).one()
    if ids:
        connection.execute(sa.insert(audited), [{"audit_id": audit_id, "email_id": email_id} for email_id in ids])
    return audit_id
