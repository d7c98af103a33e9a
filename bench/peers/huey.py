"""Huey over Redis: one task for each letter, one SMTP connection kept by each worker process."""

from __future__ import annotations

import os

from huey import RedisHuey

from bench import letter
from bench.peers import flaskmail

huey = RedisHuey("bench", url=os.environ["REDIS_URL"], results=False)


@huey.task()
def send(recipient: str, subject: str, text: str, html: str) -> None:
    """Send one letter."""
    flaskmail.send_kept(recipient, subject, text, html)


def enqueue(number: int) -> None:
    """Enqueue one letter."""
    send(*letter.arguments(number))
