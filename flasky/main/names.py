"""Remember a name, and write to the administrator about a new one, both or neither."""

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
    """Return whether *name* was known already; if not, remember it.

    The unique constraint decides, not the look before: of two visitors with one new name, one is new.
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
    _tell_admin(user)
    db.session.commit()
    return False


def _tell_admin(user: User) -> None:
    """Put the email into the transaction that holds the user, within the limit for such mail."""
    admin, limit = current_app.config["FLASKY_ADMIN"], current_app.config["FLASKY_ADMIN_MAIL_LIMIT"]
    if not admin:
        return
    if may("tell-admin", limit):
        send_email(admin, "New User", "mail/new_user", user=user)
    else:
        log.warning("no email about user %d: more than FLASKY_ADMIN_MAIL_LIMIT (%s) new names", user.id, limit)
