"""A mail merge: one template pair and one subject, compiled once and rendered for each recipient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import current_app

from ..direct import Message
from ..message.header import reject_controls
from ..message.templates import explained, full_context, halves, render
from ..state import current_state

if TYPE_CHECKING:
    from ..message.address import AddressLike


class MailMerge:
    """The *template* pair and the *subject*, itself a Jinja template, in the mail environment of the current app.

    Raises InvalidMessage if the subject or a half of the pair is missing or broken.
    """

    def __init__(self, subject: str, template: str) -> None:
        reject_controls(subject, "the subject")
        state = current_state()
        self._templates, self._template, self._prefix = state.templates, template, state.settings.subject_prefix
        with explained("the subject"):
            # A header is not HTML: nothing in it is escaped.
            self._subject = self._templates.overlay(autoescape=False).from_string(subject)
        for name in halves(template):
            with explained(f"the template {name}"):
                self._templates.get_template(name)

    def compose(self, to: AddressLike, values: dict[str, Any]) -> Message:
        """Render the pair with *values* into a message to *to*; raise InvalidMessage as the library's ``compose`` does."""
        context = full_context(current_app, values)
        with explained("the subject"):
            subject = self._subject.render(context)
        text, html = render(self._templates, self._template, context)
        return Message(self._prefix + subject, [to], text, html)
