"""``python -m flasky.inbox``: the SMTP server of the development mailbox, on loopback."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP

from flask_outbox.desk import Maildir
from flasky.config import ROOT, ConfigurationError, Settings
from flasky.inbox import FOLDER

# In bytes; larger than any attachment in a test.
LARGEST = 50 * 1024 * 1024


class Handler:
    """Stores every message in *maildir*, with its envelope in two headers."""

    def __init__(self, maildir: Maildir) -> None:
        self._maildir = maildir
        self._count = itertools.count()

    async def handle_DATA(self, _server: SMTP, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        """Store one message and accept it."""
        name = f"{time.time_ns():020d}.{os.getpid()}_{next(self._count)}.localhost"
        head = f"X-Mailbox-From: {envelope.mail_from}\r\nX-Mailbox-To: {', '.join(envelope.rcpt_tos)}\r\n"
        self._maildir.add(name.replace("_", "-"), head.encode() + (envelope.original_content or b""))
        return "250 2.0.0 stored in the mailbox"


def serve(port: int, folder: Path) -> None:
    """Receive mail on loopback until SIGTERM or SIGINT."""
    maildir = Maildir(folder)
    maildir.create()
    controller = Controller(
        Handler(maildir), hostname="127.0.0.1", port=port, data_size_limit=LARGEST, enable_SMTPUTF8=True, ident="Flasky mailbox"
    )
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    controller.start()
    print(f"mailbox: listening on 127.0.0.1:{port}, storing in {folder}", flush=True)  # noqa: T201 - the command's own output
    signal.sigwait(signals)
    controller.stop()


if __name__ == "__main__":
    try:
        settings = Settings.from_env()
    except ConfigurationError as error:
        sys.exit(str(error))
    serve(settings.flasky_mailbox_port, ROOT / "instance" / FOLDER)
