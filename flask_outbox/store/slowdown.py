"""Which workers the SMTP server has asked to slow down: one row for each, which ends by itself."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from .connection import database_now
from .models import Slowdown, slowdowns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from .connection import WorkerConnection

# How long a row is true after the server's last request, as in ``delivery/pace.py``.
LASTS = timedelta(minutes=2)


class WorkerSlowdown:
    """The row of one *worker*, on its *database* connection."""

    def __init__(self, database: WorkerConnection, worker: str) -> None:
        self._database = database
        self._worker = worker

    def note(self, speed: float, reply: str) -> None:
        """Record that this worker now sends *speed* emails a second, because of the server's *reply*."""
        with self._database.begin() as connection:
            now = database_now(connection)
            # Also those of workers that are gone.
            connection.execute(sa.delete(slowdowns).where(slowdowns.c.until < now))
            values = {"speed": speed, "reply": reply, "until": now + LASTS}
            mine = slowdowns.c.worker == self._worker
            if not connection.execute(sa.update(slowdowns).where(mine).values(values)).rowcount:
                with (
                    suppress(sa.exc.IntegrityError),
                    connection.begin_nested(),
                ):  # another connection of this worker has inserted it
                    connection.execute(sa.insert(slowdowns).values(worker=self._worker, since=now, **values))


def current_slowdowns(session: Session) -> Sequence[Slowdown]:
    """Return the workers that the server has asked to slow down, the slowest first."""
    current = sa.select(Slowdown).where(Slowdown.until >= datetime.now(UTC))
    return session.scalars(current.order_by(Slowdown.speed)).all()
