"""Names that ``flask shell`` imports."""

from __future__ import annotations

from typing import Any

from flask import Flask

from flasky.extensions import db
from flasky.mail import Email, Message, compose, enqueue, mail, send_email
from flasky.models import User


def init_app(app: Flask) -> None:
    """Register the names."""
    app.shell_context_processor(_names)


def _names() -> dict[str, Any]:
    return {
        "db": db,
        "mail": mail,
        "User": User,
        "Email": Email,
        "Message": Message,
        "send_email": send_email,
        "compose": compose,
        "enqueue": enqueue,
    }
