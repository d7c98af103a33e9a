"""Render a mail with one variant of its sample data, and leave nothing behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flask_mail

from ..api import compose
from ..errors import InvalidMessage
from ..message.reading import ReadMessage
from ..message.templates import explained
from ..message.writer import write
from ..state import MailState
from .rollback import rolled_back
from .samples import Samples, Variant, sample_explained

if TYPE_CHECKING:
    from .mails import Mail

# It is never sent to: RFC 2606 reserves the domain.
NOBODY = "somebody@example.com"


def render_preview(state: MailState, mail: Mail, samples: Samples, variant: Variant) -> flask_mail.Message:
    """Return *mail* as a message, rendered with *variant*; raise InvalidMessage if that fails.

    It is rendered in an app context of its own, whose database session is rolled back.
    """
    with rolled_back(state.app, state.database):
        with sample_explained(mail.sample_path):
            made = variant.make()
        if isinstance(made, dict):
            made = compose(NOBODY, _subject(state, samples.subject, made), mail.name, **made)
        if not isinstance(made, flask_mail.Message):
            message = f"{variant.name}() in {mail.sample_path.name} returned {type(made).__name__}: return a dict, or a Message"
            raise InvalidMessage(message)
        # It holds objects of the session that is rolled back now.
        vars(made).pop("context", None)
        return made


def written(message: flask_mail.Message) -> ReadMessage:
    """Return *message* as its recipient reads it; without a sender or a recipient, it has some that get nothing."""
    message.sender = message.sender or NOBODY
    message.recipients = message.recipients or [NOBODY]
    return ReadMessage(write(message).source)


def _subject(state: MailState, subject: str, context: dict[str, Any]) -> str:
    with explained("the subject in the sample data"):
        # A subject is not HTML: nothing in it is escaped.
        return state.templates.overlay(autoescape=False).from_string(subject).render(context)
