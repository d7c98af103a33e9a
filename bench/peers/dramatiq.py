"""Dramatiq over Redis: one actor's message for each letter, one SMTP connection kept by each worker thread."""

from __future__ import annotations

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from bench import letter
from bench.peers import flaskmail

broker = RedisBroker(url=os.environ["REDIS_URL"])
dramatiq.set_broker(broker)


@dramatiq.actor
def send(recipient: str, subject: str, text: str, html: str) -> None:
    """Send one letter."""
    flaskmail.send_kept(recipient, subject, text, html)


def enqueue(number: int) -> None:
    """Enqueue one letter."""
    send.send(*letter.arguments(number))
