"""Reliable email for Flask: written together with the data that caused it, and sent in the background.

::

    mail = Mail()
    mail.init_app(app)                                       # after db.init_app(app)
    send_email("susan@example.com", "Welcome", "mail/welcome", user=susan)

The email joins the transaction that is in progress in the session and goes out once that is committed; with nothing in
progress it is committed at once. To attach a file, to send later, or to reach several recipients::

    message = compose("susan@example.com", "Your invoice", "mail/invoice", order=order)
    message.attach("invoice.pdf", "application/pdf", pdf)
    enqueue(message, key=f"invoice-{order.id}")
"""

from flask_mail import Attachment, BadHeaderError, email_dispatched

from .api import compose, enqueue, send_email
from .direct import Connection, Message
from .errors import Deferred, Held, InvalidMessage, MailError, Refused, Unavailable
from .extension import Mail
from .logs import JsonFormatter, json_logs
from .settings import ConfigurationError, MailSettings
from .signals import email_enqueued
from .store.models import Attempt, Email, Priority, Status
from .store.status.health import HealthReport, Problem

NORMAL, URGENT, BULK = Priority.NORMAL, Priority.URGENT, Priority.BULK

__all__ = [
    "BULK",
    "NORMAL",
    "URGENT",
    "Attachment",
    "Attempt",
    "BadHeaderError",
    "ConfigurationError",
    "Connection",
    "Deferred",
    "Email",
    "HealthReport",
    "Held",
    "InvalidMessage",
    "JsonFormatter",
    "Mail",
    "MailError",
    "MailSettings",
    "Message",
    "Priority",
    "Problem",
    "Refused",
    "Status",
    "Unavailable",
    "compose",
    "email_dispatched",
    "email_enqueued",
    "enqueue",
    "json_logs",
    "send_email",
]
