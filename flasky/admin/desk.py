"""The operator's desk at /admin/mail/, behind the guard of all administrators' pages."""

from __future__ import annotations

from flask import Flask
from flask_login import current_user

from flask_outbox import Email
from flask_outbox.desk import Action, desk


def init_app(app: Flask) -> None:
    """Register the desk."""
    app.register_blueprint(desk(_may, who=_who, to_me=_to_me), url_prefix="/admin/mail")


def _may(action: Action, email: Email | None) -> bool:
    return bool(current_user.is_authenticated and current_user.is_admin)


def _who() -> str:
    return str(current_user.email or current_user.username)


def _to_me() -> str | None:
    address: str | None = current_user.email
    return address
