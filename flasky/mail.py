"""The site's mail: its ``Mail()``, and the library's calls with the site's sender."""

from __future__ import annotations

from typing import Any

from flask import Flask, current_app

import flask_outbox
from flask_outbox import URGENT, Email, Mail, Message, enqueue

mail = Mail()

__all__ = ["URGENT", "Email", "Mail", "Message", "compose", "enqueue", "mail", "send_email"]


def init_app(app: Flask) -> None:
    """Bind the library to *app*, after its database."""
    mail.init_app(app)


def send_email(to: str | tuple[str, str], subject: str, template: str, /, **context: Any) -> Email:
    """Put one email from FLASKY_MAIL_SENDER into the outbox, as ``flask_outbox.send_email`` does."""
    return enqueue(compose(to, subject, template, **context))[0]


def compose(to: str | tuple[str, str], subject: str, template: str, /, **context: Any) -> Message:
    """Return a message from FLASKY_MAIL_SENDER, as ``flask_outbox.compose`` does."""
    message = flask_outbox.compose(to, subject, template, **context)
    message.sender = current_app.config["FLASKY_MAIL_SENDER"]
    return message
