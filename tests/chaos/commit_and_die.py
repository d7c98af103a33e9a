"""Store a person and an email in one transaction, and be killed directly after the commit, before the bell."""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from flask_outbox import Message, enqueue
from flask_outbox.delivery.rq_worker import RqBell
from flasky import create_app
from flasky.extensions import db
from flasky.models import User

RqBell.ring = lambda self: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign]

with create_app().app_context():
    db.session.add(User(username="susan"))
    enqueue(Message("hi", ["0@example.com"], "text", sender="a@example.com"))
    if sys.argv[1:] == ["before"]:
        os.kill(os.getpid(), signal.SIGKILL)
    db.session.commit()
