"""A mail merge: one template pair, one subject and some headers, compiled once and rendered for each recipient."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from flask import current_app

from ..direct import Message
from ..message.address import parse
from ..message.header import as_text, reject_controls, unfold
from ..message.language import as_locale, in_language
from ..message.templates import explained, full_context, halves, localized, render
from ..state import current_state

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from jinja2 import Template

    from ..message.address import AddressLike
    from ..message.writer import WrittenMessage


class MailMerge:
    """The *template* pair, the *subject* and *headers*, in the mail environment of the current app.

    The subject and the values of the headers are Jinja templates, too. A merge with a List-Unsubscribe gets a List-Id (RFC 2919)
    from the name of the template and the sender's domain, unless *headers* have one. ``template`` is the pair's name. Raises
    InvalidMessage if the subject, a header or a half of the pair is missing or broken.
    """

    def __init__(self, subject: str, template: str, headers: Mapping[str, str] | None = None) -> None:
        state = current_state()
        self._state, self.template = state, template
        self._templates, self._settings = state.templates, state.settings
        self._pairs: dict[str, str] = {}
        self._subject = self._compile(as_text(subject, "the subject"), "the subject")
        self._headers = {name: self._compile(value, f"the header {name}") for name, value in (headers or {}).items()}
        for name in halves(template):
            with explained(f"the template {name}"):
                self._templates.get_template(name)

    def compose(self, to: AddressLike, values: dict[str, Any]) -> Message:
        """Render the pair with *values* into a message to *to*; raise InvalidMessage as the library's ``compose`` does.

        A column called ``locale`` is the recipient's language, as for ``compose``.
        """
        locale = as_locale(values.get("locale"))
        with in_language(current_app, locale):
            return self._compose(to, full_context(current_app, values), self._localized(locale))

    def _compose(self, to: AddressLike, context: dict[str, Any], template: str) -> Message:
        with explained("the subject"):
            subject = self._subject.render(context)
        text, html = render(self._templates, template, context, inlined=self._settings.inline_css)
        message = Message(self._settings.subject_prefix + subject, [to], text, html, sender=self._settings.template_sender)
        message.extra_headers = self._render_headers(context, message)
        return message

    def _localized(self, locale: str) -> str:
        """Return the name of the pair for *locale*; remembered, because looking for templates in vain is slow."""
        if locale not in self._pairs:
            self._pairs[locale] = localized(self._templates, self.template, locale)
        return self._pairs[locale]

    def write(self, to: AddressLike, values: dict[str, Any], send_at: datetime | None = None) -> WrittenMessage:
        """Compose and write the email to *to*; raise InvalidMessage if it could never be sent."""
        return self._state.write(self.compose(to, values), send_at=send_at)

    def _compile(self, source: str, what: str) -> Template:
        source = unfold(source)
        reject_controls(source, what)
        with explained(what):
            # A header is not HTML: nothing in it is escaped.
            return self._templates.overlay(autoescape=False).from_string(source)

    def _render_headers(self, context: dict[str, Any], message: Message) -> dict[str, str]:
        headers = {}
        for name, value in self._headers.items():
            with explained(f"the header {name}"):
                headers[name] = value.render(context)
        names = {name.lower() for name in headers}
        if "list-unsubscribe" in names and "list-id" not in names and message.sender:
            headers["List-Id"] = _list_id(self.template, parse(message.sender, "sender").domain)
        return headers


def _list_id(template: str, domain: str) -> str:
    """Return an identifier that stays the same from one issue of a newsletter to the next."""
    label = re.sub(r"[^a-z0-9]+", "-", template.lower()).strip("-")
    return f"<{label or 'list'}.{domain}>"
