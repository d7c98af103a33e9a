"""Flasky through its front door: ``send_email``, with the bench's own template pair."""

from __future__ import annotations

from flask import Blueprint

from bench import letter
from flask_outbox import compose, send_email
from flask_outbox.message.writer import write
from flasky import create_app
from flasky.extensions import db

CHUNK = 250

app = create_app()
app.register_blueprint(Blueprint("bench", __name__, template_folder=letter.TEMPLATES))
app.app_context().push()


def enqueue(number: int) -> None:
    """Store one letter, with a commit of its own."""
    send_email(letter.recipient(number), letter.subject(number), letter.TEMPLATE, **letter.context(number))


def fill(numbers: range) -> None:
    """Store many letters, CHUNK of them in one transaction."""
    for first in range(numbers.start, numbers.stop, CHUNK):
        with db.session.begin():
            for number in range(first, min(first + CHUNK, numbers.stop)):
                enqueue(number)


def build(number: int) -> bytes:
    """Return the bytes that would be stored for one letter."""
    message = compose(letter.recipient(number), letter.subject(number), letter.TEMPLATE, **letter.context(number))
    return write(message).source
