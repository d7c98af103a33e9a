"""Read which workers are running, and which were lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ..database.clock import database_now
from ..models import workers
from ..presence import LOST_AFTER

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.engine import Engine


@dataclass(frozen=True)
class RunningWorker:
    """A worker: since when it runs, when it was last seen, doing what, and whether it is lost: killed, or cut off."""

    name: str
    started_at: datetime
    seen_at: datetime
    doing: str
    is_lost: bool


def read_workers(engine: Engine) -> list[RunningWorker]:
    """Return all workers, the lost ones last."""
    with engine.connect() as connection:
        now = database_now(connection)
        rows = connection.execute(sa.select(workers).order_by(workers.c.name)).all()
    found = [RunningWorker(row.name, row.started_at, row.seen_at, row.doing, now - row.seen_at > LOST_AFTER) for row in rows]
    return sorted(found, key=lambda worker: worker.is_lost)
