"""The signal that the library sends when an email is enqueued."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blinker import Namespace

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from flask_mail import Message

    from .store.models import Email

signals = Namespace()

email_enqueued = signals.signal(
    "email-enqueued",
    doc="""Sent when a message is in the outbox, before its transaction is committed.

    The sender is the app. ``message`` is the message, ``emails`` the new Email rows, one for each recipient, ``template`` and
    ``context`` what ``compose`` was called with, or None and an empty dict. An email that existed already, under the same key,
    is not new. An exception of a receiver reaches the caller of ``enqueue``. Do not keep ``context``: it holds all variables
    of the template.
    """,
)


def announce(app: Flask, message: Message, new: Callable[[], list[Email]]) -> None:
    """Send ``email_enqueued``, and remove the context from *message*; call *new* only if the signal has receivers."""
    details = vars(message)
    # The message lives until the end of the transaction; the template's variables must not.
    context = details.pop("context", None) or {}
    if email_enqueued.receivers:
        emails = new()
        if emails:
            email_enqueued.send(app, message=message, emails=emails, template=details.get("template"), context=context)
