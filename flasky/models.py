"""The site's own tables: people, some of whom can sign in."""

from __future__ import annotations

import secrets

from flask_login import UserMixin
from sqlalchemy import CheckConstraint, String
from sqlalchemy.orm import Mapped, mapped_column
from werkzeug.security import check_password_hash, generate_password_hash

from flasky.extensions import Base

NAME_LENGTH = 64
# RFC 3696, erratum 1690.
EMAIL_LENGTH = 254


class User(UserMixin, Base):
    """A person who has typed a name, or has an account with an email address and a password."""

    __tablename__ = "users"
    __table_args__ = (CheckConstraint("username IS NOT NULL OR email IS NOT NULL", name="somebody"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str | None] = mapped_column(String(NAME_LENGTH), unique=True)
    email: Mapped[str | None] = mapped_column(String(EMAIL_LENGTH), unique=True)
    password_hash: Mapped[str | None] = mapped_column(String(255))
    # A session names the account by this key, so a new key ends every session. Whoever has no account has none.
    session_key: Mapped[str | None] = mapped_column(String(43), index=True, unique=True)
    is_admin: Mapped[bool] = mapped_column(default=False)

    def __repr__(self) -> str:
        return f"<User {self.id}>"

    def get_id(self) -> str:
        """Return what a session keeps to name this account."""
        return self.session_key or ""

    def end_sessions(self) -> None:
        """Sign out everywhere: also a stolen copy of the cookie no longer works."""
        self.session_key = secrets.token_urlsafe()

    def set_password(self, password: str) -> None:
        """Keep only scrypt's hash of *password*, and end the sessions that the old one has opened."""
        self.password_hash = generate_password_hash(password)
        self.end_sessions()

    def has_password(self, password: str) -> bool:
        """Return whether *password* is this user's."""
        return self.password_hash is not None and check_password_hash(self.password_hash, password)
