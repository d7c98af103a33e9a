"""``flask mail ...``: each command parses, calls one function and prints."""

from . import check, dkim, operating, reading, sending, worker
from .group import mail_cli

__all__ = ["check", "dkim", "mail_cli", "operating", "reading", "sending", "worker"]
