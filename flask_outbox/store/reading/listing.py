"""Read what the rows of the desk's lists show: emails by their ids, and the audit, a page at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ..database.clock import Now
from ..models import audited, audits, contents, emails

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy.engine import Connection

COLUMNS = ("id", "recipient", "status", "template", "reply", "tries", "send_at", "created_at", "finished_at")


def read_rows(connection: Connection, ids: Collection[int]) -> Sequence[Any]:
    """Return the emails with these *ids*, newest first, each with its subject, and with ``is_due``: whether its time has come."""
    is_due = emails.c.send_at <= Now()
    columns = [*(emails.c[name] for name in COLUMNS), is_due.label("is_due")]
    rows = sa.select(*columns, contents.c.subject).join_from(emails, contents).where(emails.c.id.in_(ids))
    return connection.execute(rows.order_by(emails.c.id.desc())).all()


def created_at(connection: Connection, email_id: int) -> datetime | None:
    """Return when the email *email_id*, or the next one, was enqueued."""
    rows = sa.select(emails.c.created_at).where(emails.c.id >= email_id).order_by(emails.c.id).limit(1)
    moment: datetime | None = connection.scalar(rows)
    return moment


def read_actions(connection: Connection, limit: int, below: int | None, email_id: int | None) -> Sequence[Any]:
    """Return the newest actions in the audit, up to *limit*.

    If *below* is given, with smaller ids than that; if *email_id* is given, those that have changed or shown that email.
    """
    rows = sa.select(audits).order_by(audits.c.id.desc()).limit(limit)
    if email_id is not None:
        rows = rows.join(audited, audited.c.audit_id == audits.c.id).where(audited.c.email_id == email_id)
    return connection.execute(rows if below is None else rows.where(audits.c.id < below)).all()


def read_action(connection: Connection, audit_id: int) -> Any:
    """Return one action in the audit; None if there is none."""
    return connection.execute(sa.select(audits).where(audits.c.id == audit_id)).one_or_none()


def few_changed_ids(connection: Connection, actions: Collection[Any], most: int) -> dict[int, list[int]]:
    """Return the ids of the emails of each of *actions* that has changed or shown *most* or fewer, by the action's id."""
    few = [action.id for action in actions if action.changed <= most]
    found: dict[int, list[int]] = {}
    rows = sa.select(audited).where(audited.c.audit_id.in_(few)).order_by(audited.c.email_id)
    for row in connection.execute(rows):
        found.setdefault(row.audit_id, []).append(row.email_id)
    return found


def changed_ids(connection: Connection, audit_id: int, limit: int) -> list[int]:
    """Return the ids of the emails that an action has changed or shown, the newest first, up to *limit*."""
    rows = sa.select(audited.c.email_id).where(audited.c.audit_id == audit_id).order_by(audited.c.email_id.desc())
    return list(connection.scalars(rows.limit(limit)))
