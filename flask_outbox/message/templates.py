"""A template pair and a context become one flask_mail.Message."""

from __future__ import annotations

from collections import ChainMap
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask import Flask, current_app
from flask_mail import Message
from jinja2 import StrictUndefined, TemplateError, TemplateNotFound, TemplateSyntaxError, UndefinedError

from ..errors import InvalidMessage
from .address import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jinja2 import Environment

    from .address import type_of_address

# What a wrong expression in a template raises; url_for for a page that does not exist is a LookupError.
BROKEN = (TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def compose(to: type_of_address, subject: str, template: str, /, **context: Any) -> Message:
    """Render ``template.txt`` and ``template.html`` with *context* into a message to *to*.

    The message can be added to (``attach``, ``cc``, ``reply_to``) before it is given to ``enqueue``. Raises InvalidMessage
    where a half is missing or broken, a variable is missing, or the address is none.
    """
    parse(to, "recipient")
    if not isinstance(subject, str):
        message = f"the subject is {type(subject).__name__}, not a string"
        raise InvalidMessage(message)
    current_app.update_template_context(context)
    return fill(to, subject, template, context)


def halves(template: str) -> tuple[str, str]:
    """Return the file names of both halves of *template*."""
    return f"{template}.txt", f"{template}.html"


def fill(to: type_of_address, subject: str, template: str, context: dict[str, Any]) -> Message:
    """Return a message to *to* with both halves of *template* rendered; raise InvalidMessage if one is missing or broken."""
    mail = current_app.extensions["mail"]
    text, html = (_render(mail.templates, name, context) for name in halves(template))
    return Message(mail.subject_prefix + subject, [to], text, html, sender=mail.sender)


def _render(templates: Environment, name: str, context: dict[str, Any]) -> str:
    with explained(f"the template {name}"):
        return templates.get_template(name).render(context)


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn whatever is wrong with a template into an InvalidMessage of one sentence; *what* names the template."""
    try:
        yield
    except TemplateNotFound as error:
        message = f"the template {error.name} is missing: a mail needs both halves, .txt and .html"
        raise InvalidMessage(message) from error
    except TemplateSyntaxError as error:
        where = f"the template {error.name}" if error.name else what
        message = f"{where} is broken in line {error.lineno}: {error.message}"
        raise InvalidMessage(message) from error
    except UndefinedError as error:
        message = f"{what} asks for something that was not given: {error.message}"
        raise InvalidMessage(message) from error
    except BROKEN as error:
        message = f"{what} cannot be rendered: {type(error).__name__}: {error}"
        raise InvalidMessage(message) from error


def mail_templates(app: Flask, base_url: str) -> Environment:
    """Return the app's template environment for mail: a missing variable is an error, and links begin with *base_url*."""
    environment = app.jinja_env.overlay(undefined=StrictUndefined)
    own: dict[str, Any] = {"url_for": url_builder(app, base_url)} if base_url else {}
    environment.globals = ChainMap(own, app.jinja_env.globals)  # type: ignore[assignment] # any mapping serves
    return environment


def url_builder(app: Flask, base_url: str) -> Callable[..., str]:
    """Return a ``url_for`` whose links are absolute and begin with *base_url*, whatever Host a request has claimed."""
    base = urlsplit(base_url)
    adapter = app.url_map.bind(base.netloc, base.path or "/", url_scheme=base.scheme)

    def url_for(endpoint: str, *, _anchor: str | None = None, **values: Any) -> str:
        for name in ("_external", "_scheme"):
            values.pop(name, None)
        url = adapter.build(endpoint, values, force_external=True)
        return f"{url}#{_anchor}" if _anchor else url

    return url_for
