"""The log of events that happen to every email: enqueued and accepted, one record for each, with fields for machines.

They are DEBUG, because one line for each email would be most of the log: ``json_logs`` and ``flask mail worker --verbose`` show
them. Everything that goes wrong is logged by the module that finds it, with the same fields.
"""

from __future__ import annotations

import logging
from typing import Any, Literal

log = logging.getLogger(__name__)

Event = Literal[
    "enqueued",
    "accepted",
    "deferred",
    "failed",
    "expired",
    "held",
    "cancelled",
    "retried",
    "purged",
    "throttled",
    "unavailable",
    "available",
]


def facts(event: Event, email_id: int | None = None, request_id: str | None = None) -> dict[str, Any]:
    """Return the fields of a log record about *event*, for ``extra=``.

    *request_id* is the id of the request that enqueued the email; None if it is unknown.
    """
    found: dict[str, Any] = {"event": event}
    if email_id is not None:
        found["email_id"] = email_id
    if request_id is not None:
        found["request_id"] = request_id
    return found
