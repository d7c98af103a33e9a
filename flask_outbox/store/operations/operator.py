"""What an operator does to one email, or reads of it, recorded in the audit."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from ..database.clock import database_now
from ..database.sqlite_lock import take_write_lock
from ..models import audited, audits
from .actions import cancel, retry
from .audit import record

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine

READ = "read"
# Within this time the audit notes only the first of an operator's looks at the same body.
NOTED_FOR = timedelta(hours=1)


class Operator(NamedTuple):
    """Who acts: the *name*, and from where: an IP *address*, or a command."""

    name: str
    address: str


def retry_one(engine: Engine, email_id: int, operator: Operator) -> None:
    """Queue an email again; raise NotPossible unless it failed, expired, was cancelled or is held."""
    retry(engine, email_id, partial(_note, email_id=email_id, operator=operator, action="retry"))


def cancel_one(engine: Engine, email_id: int, operator: Operator) -> None:
    """Cancel a queued or held email; raise NotPossible for any other."""
    cancel(engine, email_id, partial(_note, email_id=email_id, operator=operator, action="cancel"))


def note_purge(engine: Engine, number: int, what: str, operator: Operator) -> None:
    """Record that *operator* has deleted a *number* of emails; *what* says in words which."""
    with engine.begin() as connection:
        take_write_lock(connection)
        record(connection, actor=operator.name, address=operator.address, action="purge", detail=f"{number} deleted: {what}")


def note_read(engine: Engine, email_id: int, operator: Operator) -> None:
    """Record that *operator* reads the body of an email, unless the audit has it from the last hour."""
    with engine.connect() as connection:
        since = database_now(connection) - NOTED_FOR
        own = audits.c.actor == operator.name, audits.c.action == READ, audits.c.at > since
        noted = sa.select(audits.c.id).join(audited).where(audited.c.email_id == email_id, *own).limit(1)
        if connection.scalar(noted) is not None:
            return
    with engine.begin() as connection:
        take_write_lock(connection)
        _note(connection, email_id=email_id, operator=operator, action=READ)


def _note(connection: Connection, *, email_id: int, operator: Operator, action: str) -> None:
    record(connection, actor=operator.name, address=operator.address, action=action, emails=[email_id])
