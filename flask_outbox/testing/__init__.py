"""For tests: ``SmtpServer``, a scripted SMTP server, and the types behind the fixture ``outbox``.

The fixture itself comes with the pytest plugin, ``flask_outbox.testing.plugin``.
"""

from .answers import accept_then_drop, accept_then_stall, drip, drop, garbage, refuse_pipelined, reply, slow, stall, usual_then_drop
from .recorded_email import RecordedEmail
from .recorded_emails import RecordedEmails
from .recorded_outbox import RecordedOutbox
from .smtp_server import AcceptedMessage, SmtpServer
from .smtp_session import Drop, SmtpSession

__all__ = [
    "AcceptedMessage",
    "Drop",
    "RecordedEmail",
    "RecordedEmails",
    "RecordedOutbox",
    "SmtpServer",
    "SmtpSession",
    "accept_then_drop",
    "accept_then_stall",
    "drip",
    "drop",
    "garbage",
    "refuse_pipelined",
    "reply",
    "slow",
    "stall",
    "usual_then_drop",
]
