"""Read the newest emails, all or those to one address."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from ..models import Email, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session


def newest_emails(session: Session, limit: int, status: Status | None = None) -> Sequence[Email]:
    """Return the newest emails, or the newest with *status*."""
    query = sa.select(Email).order_by(Email.id.desc()).limit(limit)
    return session.scalars(query if status is None else query.where(Email.status == status)).all()


def newest_to(session: Session, address: str, limit: int) -> Sequence[Email]:
    """Return the newest emails to *address*, whatever the case of its letters."""
    lower = address.lower()
    # An older version, which may still run during an upgrade, leaves recipient_lower empty.
    unknown = sa.and_(Email.recipient_lower.is_(None), sa.func.lower(Email.recipient) == lower)
    ids = sa.union_all(*(sa.select(Email.id).where(same) for same in (Email.recipient_lower == lower, unknown)))
    return session.scalars(sa.select(Email).where(Email.id.in_(ids)).order_by(Email.id.desc()).limit(limit)).all()
