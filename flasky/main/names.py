"""Store a new name and notify the administrator, in one transaction."""

from __future__ import annotations

import logging

from flask import current_app
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from flasky.extensions import db
from flasky.limiting import may
from flasky.mail import Message, compose, enqueue
from flasky.models import User

log = logging.getLogger("flasky")


def remember(name: str) -> bool:
    """Store *name* unless it is known; return whether it was known.

    The unique constraint decides, not the SELECT: if two visitors enter the same new name at once, it is new for one of them.
    """
    if db.session.scalar(select(User.id).where(User.username == name)):
        return True
    user = User(username=name)
    # Ask Redis for the limit and render before the first write: SQLite has one write lock for all requests.
    notice = _compose_notice(user)
    db.session.add(user)
    try:
        db.session.flush()
    except IntegrityError:
        db.session.rollback()
        return True
    if notice is not None:
        enqueue(notice)
    db.session.commit()
    return False


def _compose_notice(user: User) -> Message | None:
    """Return the email to the administrator about *user*; None without an administrator, and beyond FLASKY_ADMIN_MAIL_LIMIT."""
    admin, limit = current_app.config["FLASKY_ADMIN"], current_app.config["FLASKY_ADMIN_MAIL_LIMIT"]
    if not admin:
        return None
    if not may("tell-admin", limit):
        log.warning("a new name without an email: more than FLASKY_ADMIN_MAIL_LIMIT (%s) new names", limit)
        return None
    return compose(admin, "New User", "mail/new_user", user=user)
