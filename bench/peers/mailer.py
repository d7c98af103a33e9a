"""django-mailer: ``send_html_mail`` puts a row into the database, ``send_mail`` sends what is there."""

from __future__ import annotations

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.peers.settings")
django.setup()

from django.db import transaction  # noqa: E402 - Django wants to be set up first
from django.template.loader import render_to_string  # noqa: E402
from mailer import send_html_mail  # noqa: E402

from bench import letter  # noqa: E402


def enqueue(number: int) -> None:
    """Store one letter."""
    text, html = (render_to_string(f"{letter.TEMPLATE}.{half}", letter.context(number)) for half in ("txt", "html"))
    send_html_mail(letter.subject(number), text, html, letter.SENDER, [letter.recipient(number)])


def fill(numbers: range) -> None:
    """Store many letters in one transaction."""
    with transaction.atomic():
        for number in numbers:
            enqueue(number)
