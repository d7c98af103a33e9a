"""The site's mail: the one Mail(), and the library's words for sending."""

from __future__ import annotations

from flask_outbox import Email, Mail, Message, compose, enqueue, send_email

mail = Mail()

__all__ = ["Email", "Mail", "Message", "compose", "enqueue", "mail", "send_email"]
