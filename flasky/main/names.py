"""Store a new name and notify the administrator, in one transaction."""

from __future__ import annotations

import logging

from flask import current_app
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from flasky.extensions import db
from flasky.limiting import may
from flasky.mail import send_email
from flasky.models import User

log = logging.getLogger("flasky")


def remember(name: str) -> bool:
    """Store *name* unless it is known; return whether it was known.

    The unique constraint decides, not the SELECT: if two visitors enter the same new name at once, it is new for one of them.
    """
    if db.session.scalar(select(User.id).where(User.username == name)):
        return True
    user = User(username=name)
    db.session.add(user)
    try:
        db.session.flush()
    except IntegrityError:
        db.session.rollback()
        return True
    _notify_admin(user)
    db.session.commit()
    return False


def _notify_admin(user: User) -> None:
    """Enqueue the email in the user's transaction, within FLASKY_ADMIN_MAIL_LIMIT."""
    admin, limit = current_app.config["FLASKY_ADMIN"], current_app.config["FLASKY_ADMIN_MAIL_LIMIT"]
    if not admin:
        return
    if may("tell-admin", limit):
        send_email(admin, "New User", "mail/new_user", user=user)
    else:
        log.warning("no email about user %d: more than FLASKY_ADMIN_MAIL_LIMIT (%s) new names", user.id, limit)
