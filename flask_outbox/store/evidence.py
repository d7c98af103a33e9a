"""Evidence: what the recorded attempts say about an email whose refusal is unclear.

It is in the database, because it has to outlive the worker, and because other workers see what one of them does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from .models import attempts

if TYPE_CHECKING:
    from .database.connection import WorkerConnection
    from .lease import Claimed

REFUSED, THROTTLED, SENT = "refused", "throttled", "sent"


class Evidence:
    """The recorded attempts as one worker reads them, on its *database* connection."""

    def __init__(self, database: WorkerConnection) -> None:
        self._database = database

    def count_throttled(self, email: Claimed) -> int:
        """Return how often the server asked to slow down in reply to *email*."""
        query = sa.select(sa.func.count()).select_from(attempts).where(*_attempts_of(email, THROTTLED))
        with self._database.begin() as connection:
            return connection.scalar(query) or 0

    def is_refused_before(self, email: Claimed) -> tuple[bool, bool]:
        """Return whether the server refused *email* before, and whether it accepted any other one since then."""
        with self._database.begin() as connection:
            first = connection.scalar(sa.select(sa.func.min(attempts.c.id)).where(*_attempts_of(email, REFUSED)))
            if first is None:
                return False, False
            later = sa.select(attempts.c.id).where(attempts.c.id > first, attempts.c.outcome == SENT).limit(1)
            return True, connection.scalar(later) is not None


def _attempts_of(email: Claimed, outcome: str) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the conditions for the attempts of *email* with *outcome*, since it was enqueued or retried by the operator."""
    return attempts.c.email_id == email.id, attempts.c.outcome == outcome, attempts.c.started_at >= email.due_since
