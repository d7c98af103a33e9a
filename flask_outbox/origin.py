"""Where an email comes from: the request or the command that enqueues it."""

from __future__ import annotations

import re
import uuid
from typing import NamedTuple

import click
from flask import g, has_request_context, request

from .tracing import current_traceparent

# What a proxy in front of the app calls the request. It may come from a stranger, so anything else than a plain id is ignored.
REQUEST_ID_HEADER = "X-Request-ID"
REQUEST_ID = re.compile(r"[A-Za-z0-9._:+/=-]{1,100}")
REQUEST_ID_KEY, REQUEST_ID_ENVIRON = "_outbox_request_id", "flask_outbox.request_id"


class Origin(NamedTuple):
    """The id of the request, and what enqueued: ``POST /orders/<int:id>``, or ``flask mail send``; None if it is unknown.

    *traceparent* is the current span of OpenTelemetry, if there is one.
    """

    request_id: str | None = None
    what: str | None = None
    traceparent: str | None = None


def current_origin() -> Origin:
    """Return the origin of an email that is enqueued now.

    It names the route and not the path, because a path may hold a secret: the token of a password reset.
    """
    if has_request_context():
        rule = request.url_rule.rule if request.url_rule else "a URL without a route"
        return Origin(current_request_id(), f"{request.method} {rule}", current_traceparent())
    command = click.get_current_context(silent=True)
    return Origin(None, command.command_path if command else None, current_traceparent())


def current_request_id() -> str:
    """Return the id of the current request: its header X-Request-ID if that is a plain id, else one of our own."""
    if REQUEST_ID_KEY not in g:
        given = request.headers.get(REQUEST_ID_HEADER, "")
        setattr(g, REQUEST_ID_KEY, given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex)
        # For the access log of the WSGI server.
        request.environ[REQUEST_ID_ENVIRON] = g.get(REQUEST_ID_KEY)
    found: str = g.get(REQUEST_ID_KEY)
    return found
