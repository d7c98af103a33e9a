"""Flasky again, for mail that cannot wait: priority URGENT goes before everything else that is due."""

from __future__ import annotations

from bench import letter
from bench.peers import flasky
from flask_outbox import URGENT, compose
from flask_outbox import enqueue as put

__all__ = ["enqueue"]


def enqueue(number: int) -> None:
    """Store one urgent letter, with a commit of its own."""
    with flasky.app.app_context():
        put(compose(letter.recipient(number), letter.subject(number), letter.TEMPLATE, **letter.context(number)), priority=URGENT)
