"""A mail merge: one template pair and one subject, compiled once and rendered for each recipient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import current_app

from ..message.address import parse
from ..message.header import reject_controls
from ..message.templates import explained, fill, halves

if TYPE_CHECKING:
    from flask_mail import Message

    from ..message.address import type_of_address


class MailMerge:
    """The *template* pair and the *subject*, itself a Jinja template, in the mail environment of the current app.

    Raises InvalidMessage if the subject or a half of the pair is missing or broken.
    """

    def __init__(self, subject: str, template: str) -> None:
        reject_controls(subject, "the subject")
        templates = current_app.extensions["mail"].templates
        with explained("the subject"):
            # A header is not HTML: nothing in it is escaped.
            self._subject = templates.overlay(autoescape=False).from_string(subject)
        self._template = template
        for name in halves(template):
            with explained(f"the template {name}"):
                templates.get_template(name)

    def compose(self, to: type_of_address, values: dict[str, Any]) -> Message:
        """Render the pair with *values* into a message to *to*; raise InvalidMessage as the library's ``compose`` does."""
        parse(to, "recipient")
        context = dict(values)
        current_app.update_template_context(context)
        with explained("the subject"):
            subject = self._subject.render(context)
        return fill(to, subject, self._template, context)
