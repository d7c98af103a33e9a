"""Mail that is written together with the data that caused it, and sent in the background.

::

    mail = Mail()
    mail.init_app(app)                                       # after db.init_app(app)
    send_email("susan@example.com", "Welcome", "mail/welcome", user=susan)

The email joins the transaction that is in progress in ``db.session`` and goes out once that is committed; with nothing in
progress it is committed at once. To attach a file, to send later, or to more than one recipient::

    message = compose("susan@example.com", "Your invoice", "mail/invoice", order=order)
    message.attach("invoice.pdf", "application/pdf", pdf)
    enqueue(message, key=f"invoice-{order.id}")
"""

from .api import enqueue, send_email
from .errors import Deferred, InvalidMessage, MailError, Refused, Unavailable
from .extension import Mail, Message
from .message.templates import compose
from .store.models import Attempt, Email, Priority, Status

NORMAL, URGENT, BULK = Priority.NORMAL, Priority.URGENT, Priority.BULK

__all__ = [
    "BULK",
    "NORMAL",
    "URGENT",
    "Attempt",
    "Deferred",
    "Email",
    "InvalidMessage",
    "Mail",
    "MailError",
    "Message",
    "Priority",
    "Refused",
    "Status",
    "Unavailable",
    "compose",
    "enqueue",
    "send_email",
]
