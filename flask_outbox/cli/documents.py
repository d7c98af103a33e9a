"""The JSON documents that list, show and why print; their names stay the same. No bodies: those may hold secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..store.reading.history import timeline

if TYPE_CHECKING:
    from ..store.models import Attempt, Email

ATTEMPT = ("started_at", "seconds", "worker", "outcome", "code", "enhanced", "reply")


def describe_email(email: Email) -> dict[str, Any]:
    """Return the facts of *email*."""
    content = email.content
    return {
        "id": email.id,
        "status": str(email.status),
        "recipient": email.recipient,
        "sender": content.sender,
        "subject": content.subject,
        "message_id": content.message_id,
        "size": content.size,
        "is_secret": content.secret,
        "priority": email.priority,
        "key": email.key,
        "template": email.template,
        "origin": content.origin,
        "request_id": content.request_id,
        "created_at": email.created_at,
        "send_at": email.send_at,
        "expires_at": email.expires_at,
        "finished_at": email.finished_at,
        "tries": email.tries,
        "reply": email.reply,
        "failure": email.failure,
    }


def describe_history(email: Email) -> dict[str, Any]:
    """Return the facts of *email*, its attempts, and what has happened and happens next, in words."""
    return describe_email(email) | {
        "attempts": [_describe_attempt(attempt) for attempt in email.attempts],
        "history": [{"at": when, "what": what} for when, what in timeline(email)],
    }


def _describe_attempt(attempt: Attempt) -> dict[str, Any]:
    return {name: getattr(attempt, name) for name in ATTEMPT}
