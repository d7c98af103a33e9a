"""django-post_office: ``mail.send`` puts a row into the database, ``send_queued_mail`` sends what is there."""

from __future__ import annotations

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.peers.settings")
django.setup()

from django.db import transaction  # noqa: E402 - Django wants to be set up first
from django.template.loader import render_to_string  # noqa: E402
from post_office import mail  # noqa: E402

from bench import letter  # noqa: E402


def enqueue(number: int) -> None:
    """Store one letter."""
    text, html = (render_to_string(f"{letter.TEMPLATE}.{half}", letter.context(number)) for half in ("txt", "html"))
    mail.send(letter.recipient(number), letter.SENDER, subject=letter.subject(number), message=text, html_message=html)


def fill(numbers: range) -> None:
    """Store many letters in one transaction."""
    with transaction.atomic():
        for number in numbers:
            enqueue(number)
