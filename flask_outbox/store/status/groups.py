"""Group the failed emails by why they failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ..models import Status, emails

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.engine import Dialect, Engine

# Most groups that are read, the largest first: strangers write the replies.
MOST_GROUPS = 100


@dataclass(frozen=True)
class FailureGroup:
    """Emails that failed alike: *failure* says why (None if an older version recorded them), *first* and *last* when."""

    failure: str | None
    count: int
    first: datetime | None
    last: datetime | None


def read_groups(engine: Engine) -> list[FailureGroup]:
    """Return up to MOST_GROUPS groups of failed emails, the largest first; a scan of the index of failures alone."""
    number, when = sa.func.count(), emails.c.finished_at
    query = (
        sa.select(emails.c.failure, number, sa.func.min(when), sa.func.max(when))
        .where(_is_failed(engine.dialect))
        .group_by(emails.c.failure)
        .order_by(number.desc(), emails.c.failure)
        .limit(MOST_GROUPS)
    )
    with engine.connect() as connection:
        return [FailureGroup(*row) for row in connection.execute(query)]


def _is_failed(dialect: Dialect) -> sa.ColumnElement[bool]:
    # A literal and a hint, without which the database does not use the partial index; as for queued emails in ``statements``.
    failed: sa.ColumnElement[bool] = emails.c.status == sa.literal_column(f"'{Status.FAILED}'")
    return sa.func.likely(failed) if dialect.name == "sqlite" else failed
