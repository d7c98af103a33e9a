"""The worker, with a short lease, and killed by its own hand at a named step: ``FAULT=accepted python faulty_worker.py``.

The fault points wrap the package's functions from outside, so that they cost nothing where they are not used.
"""

from __future__ import annotations

import os
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from flask_outbox.delivery import thread
from flask_outbox.smtp.line.conversation import Conversation
from flask_outbox.smtp.transport import Transport
from flask_outbox.store import lease
from flask_outbox.store.outbox import Outbox

FAULT = os.environ.get("FAULT", "")
lease.LEASE = timedelta(seconds=float(os.environ.get("LEASE", "3")))
thread.SWEEP_EVERY = 0.5


def die(step: str) -> None:
    if step == FAULT:
        os.kill(os.getpid(), signal.SIGKILL)


def die_after(owner: type, name: str, step: str) -> None:
    """Let *owner*'s method end, and die."""
    original = getattr(owner, name)

    def method(*arguments: Any, **options: Any) -> Any:
        result = original(*arguments, **options)
        if result is not None:
            die(step)
        return result

    setattr(owner, name, method)


send = Conversation.send


def send_and_die(self: Conversation, data: str | bytes) -> None:
    send(self, data)
    text = data if isinstance(data, str) else data.decode("latin-1")
    die("dot" if "\r\n.\r\n" in text else text[:4].strip().upper())


Conversation.send = send_and_die  # type: ignore[method-assign]
die_after(Outbox, "claim", "claimed")
die_after(Transport, "_ready", "connected")
die_after(Transport, "transmit", "accepted")
die_after(Outbox, "settle_sent", "settled")

if __name__ == "__main__":
    import worker

    worker.main()
