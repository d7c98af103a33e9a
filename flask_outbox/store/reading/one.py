"""Load one email for its operator, without its message, which may be large, and the message when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.orm import contains_eager

from ..models import Content, Email

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def load_email(session: Session, email_id: int) -> Email | None:
    """Return an email; its message is not loaded before it is read."""
    content = contains_eager(Email.content).defer(Content.source)
    return session.scalars(sa.select(Email).join(Email.content).where(Email.id == email_id).options(content)).one_or_none()


def is_erased(session: Session, email: Email) -> bool:
    """Return whether the message was secret, and has been erased."""
    return bool(session.scalar(sa.select(Content.source.is_(None)).where(Content.id == email.content_id)))


def load_source(session: Session, email: Email) -> bytes | None:
    """Return the message; None if it is secret or has been erased."""
    return session.scalar(sa.select(Content.source).where(Content.id == email.content_id, Content.secret.is_(False)))
