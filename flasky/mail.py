"""The site's mail: its ``Mail()``, and the library's calls. Templates are sent from FLASKY_MAIL_SENDER."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_outbox import URGENT, Email, Mail, Message, compose, enqueue, send_email

if TYPE_CHECKING:
    from flask import Flask

mail = Mail()

__all__ = ["URGENT", "Email", "Mail", "Message", "compose", "enqueue", "mail", "send_email"]


def init_app(app: Flask) -> None:
    """Bind the library to *app*, after its database."""
    mail.init_app(app)
