"""Celery over Redis: one task for each letter, no results kept, one SMTP connection kept by each worker process."""

from __future__ import annotations

import os

from celery import Celery

from bench import letter
from bench.peers import flaskmail

app = Celery("bench", broker=os.environ["REDIS_URL"])
app.conf.task_ignore_result = True
# Without it Celery 5 warns that Celery 6 will not try again; nothing else changes.
app.conf.broker_connection_retry_on_startup = True


@app.task
def send(recipient: str, subject: str, text: str, html: str) -> None:
    """Send one letter."""
    flaskmail.send_kept(recipient, subject, text, html)


def enqueue(number: int) -> None:
    """Enqueue one letter."""
    send.delay(*letter.arguments(number))
