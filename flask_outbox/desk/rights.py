"""Who may do what on the desk: the host's rule, asked before each action."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

from flask import abort, current_app, request

from ..store.operations.operator import Operator

if TYPE_CHECKING:
    from ..store.models import Email


class Action(enum.StrEnum):
    """What an operator can do on the desk; the host's rule is asked for each.

    ``LOOK`` is to see pages, addresses, subjects and what servers said. ``READ`` is to read the body of an email. ``RETRY``,
    ``CANCEL`` and ``PURGE`` change emails. ``SEND_AGAIN`` sends a new email with the same body to the same recipient,
    ``SEND_TO_ME`` sends it to the operator. ``PREVIEW`` renders templates with sample data. ``AUDIT`` shows what operators have
    done.
    """

    LOOK = "look"
    READ = "read"
    RETRY = "retry"
    CANCEL = "cancel"
    PURGE = "purge"
    SEND_AGAIN = "send again"
    SEND_TO_ME = "send to me"
    PREVIEW = "preview"
    AUDIT = "audit"


def may(action: Action, email: Email | None = None) -> bool:
    """Return whether the current user may do *action* to *email*, or to emails in general."""
    return bool(current_desk().may(action, email))


def require(action: Action, email: Email | None = None) -> None:
    """Answer 403 unless the current user may do *action* to *email*, or to emails in general."""
    if not may(action, email):
        abort(403, f"You may not {action.value} here.")


def current_desk() -> Any:
    """Return the blueprint of the desk that answers this request."""
    return current_app.blueprints[request.blueprint or ""]


def current_operator() -> Operator:
    """Return who acts, as the audit records it."""
    return Operator(str(current_desk().who()), request.remote_addr or "")
