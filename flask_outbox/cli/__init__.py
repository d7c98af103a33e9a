"""``flask mail ...``: each command parses, calls one function and prints."""

from . import check, doctor, operating, reading, sending, worker
from .group import mail_cli

__all__ = ["check", "doctor", "mail_cli", "operating", "reading", "sending", "worker"]
