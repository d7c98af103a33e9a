"""``flask mail ...``: each command parses, calls one function and prints."""

from . import check, dkim, doctor, lint, operating, reading, sending, status, worker
from .group import mail_cli

__all__ = ["check", "dkim", "doctor", "lint", "mail_cli", "operating", "reading", "sending", "status", "worker"]
