"""For people who test: ``SmtpServer``, a scripted SMTP server, and what it may answer.

The ``outbox`` fixture comes with the pytest plugin, ``flask_outbox.testing.plugin``.
"""

from .script import accept_then_drop, accept_then_stall, drip, drop, garbage, reply, slow, stall, usual_then_drop
from .smtp_server import AcceptedMessage, SmtpServer
from .smtp_session import Drop, SmtpSession

__all__ = [
    "AcceptedMessage",
    "Drop",
    "SmtpServer",
    "SmtpSession",
    "accept_then_drop",
    "accept_then_stall",
    "drip",
    "drop",
    "garbage",
    "reply",
    "slow",
    "stall",
    "usual_then_drop",
]
