"""Read which workers are running, and which have not been seen for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from ..database.clock import database_now
from ..models import workers
from ..presence import LOST_AFTER

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine


def read_workers(engine: Engine) -> tuple[list[str], list[str]]:
    """Return the names of the workers that are running, and of those that were killed or hang."""
    with engine.connect() as connection:
        since = database_now(connection) - LOST_AFTER
        rows = connection.execute(sa.select(workers.c.name, workers.c.seen_at).order_by(workers.c.name)).all()
    return [row.name for row in rows if row.seen_at >= since], [row.name for row in rows if row.seen_at < since]
