"""The calls of the library: ``send_email``, ``compose`` and ``enqueue``, for the current app.

The packages below do not use the current app: these functions pass them what they need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import current_app

from .direct import Message
from .message.header import as_text
from .message.language import as_locale, in_language
from .message.templates import full_context, localized, render
from .origin import current_origin
from .signals import announce
from .state import current_state
from .store.enqueue import envelope_values
from .store.models import Email, Priority
from .tracing import enqueueing

if TYPE_CHECKING:
    from datetime import datetime

    import flask_mail
    from sqlalchemy.orm import Session

    from .message.address import AddressLike


def send_email(to: AddressLike, subject: str, template: str, /, **context: Any) -> Email:
    """Render ``template.txt`` and ``template.html`` for one recipient and put the email into the outbox.

    It returns at once. With work in progress in the session, the email joins that transaction and goes out when it is
    committed; otherwise it is committed at once. The arguments are positional, so that a template may have variables called
    ``to``, ``subject`` and ``template``. One called ``locale`` is the recipient's language: see ``compose``. Raises InvalidMessage,
    and stores nothing, if the email could never be sent.
    """
    return enqueue(compose(to, subject, template, **context))[0]


def compose(to: AddressLike, subject: str, template: str, /, **context: Any) -> Message:
    """Render ``template.txt`` and ``template.html`` with *context* into a message to *to*.

    A variable called ``locale``, such as ``"de_AT"``, is the recipient's language: ``template.de_AT.txt`` or ``template.de.txt``
    comes before ``template.txt``, and Flask-Babel, if the app has it, translates and formats for it. None is the app's own choice.

    Add to the message what you like (``attach``, ``cc``, ``reply_to``) before you hand it to ``enqueue``. Raises
    InvalidMessage if a half of the pair is missing or broken, or a variable is missing; ``enqueue`` checks the address.
    """
    state = current_state()
    locale = as_locale(context.get("locale"))
    with in_language(current_app, locale):
        pair = localized(state.templates, template, locale)
        text, html = render(state.templates, pair, full_context(current_app, context), inlined=state.settings.inline_css)
        subject = state.settings.subject_prefix + as_text(subject, "the subject")
    message = Message(subject, [to], text, html, sender=state.settings.template_sender)
    vars(message).update(template=template, context=context)
    return message


def enqueue(  # noqa: PLR0913 - each is a decision of the caller
    message: flask_mail.Message,
    *,
    send_at: datetime | None = None,
    expires_at: datetime | None = None,
    priority: int = Priority.NORMAL,
    key: str | None = None,
    secret: bool = False,
    envelope_from: AddressLike | None = None,
    session: Session | None = None,
) -> list[Email]:
    """Put *message* into the outbox, and return one Email for each recipient.

    With work in progress in the session, the emails join that transaction and go out when it is committed; otherwise they are
    committed at once. The session is the app's current one, or *session*. *send_at* and *expires_at* are aware datetimes: the email
    is sent after the first and before the second, and the first is its Date. A second call with the same *key* and recipient
    returns the existing email. The body of a *secret* message is never shown, and is erased once the email is final. Bounces go to
    *envelope_from* instead of the sender. Raises InvalidMessage, and stores nothing, if the message could never be sent.
    """
    state = current_state()
    template = vars(message).get("template")
    fields = envelope_values(send_at=send_at, expires_at=expires_at, priority=priority, key=key, template=template)
    written = state.write(message, send_at=fields.get("send_at"), envelope_from=envelope_from)
    with enqueueing(template), state.database.session(session) as current:
        emails = state.enqueuer.enqueue(current, message, written, fields, current_origin(), secret=secret)
        announce(state.app, message, lambda: [email for email in emails if email.message_id == written.message_id])
        return emails
