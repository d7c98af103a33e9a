"""Find an account and check its password."""

from __future__ import annotations

from functools import cache

from email_validator import EmailNotValidError, validate_email
from sqlalchemy import select
from werkzeug.security import check_password_hash, generate_password_hash

from flasky.extensions import db
from flasky.models import User

SHORTEST_PASSWORD = 10


def load_user(session_key: str) -> User | None:
    """Return the user whose key the session holds."""
    return db.session.scalar(select(User).where(User.session_key == session_key)) if session_key else None


def canonical(email: str) -> str:
    """Return *email* normalized and in lower case, as accounts store it; raise ValueError if it is no address."""
    try:
        valid = validate_email(email.strip(), check_deliverability=False, globally_deliverable=False)
    except EmailNotValidError as error:
        raise ValueError(str(error)) from error
    return valid.normalized.lower()


def authenticate(email: str, password: str) -> User | None:
    """Return the account of *email* if *password* is right.

    An unknown address takes as long as a wrong password, so timing does not reveal which accounts exist.
    """
    try:
        address = canonical(email)
    except ValueError:
        address = ""
    user = db.session.scalar(select(User).where(User.email == address)) if address else None
    if user is None or user.password_hash is None:
        check_password_hash(_nobodys_hash(), password)
        return None
    return user if user.has_password(password) else None


@cache
def _nobodys_hash() -> str:
    return generate_password_hash("nobody")
