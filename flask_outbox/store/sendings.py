"""Sendings: the emails that belong together, and how all of them are held.

One sending is all emails with the same key (``flask mail send-many`` gives one to each mail merge), or, without a key, all
recipients of the same message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from .database.sqlite_lock import take_write_lock
from .models import Status, emails

if TYPE_CHECKING:
    from .database.connection import WorkerConnection
    from .lease import Claimed

# What the reply of a held email begins with; the server's reply follows.
HELD = "the server refuses this sending"
# Most rows in one transaction, so that SQLite's write lock is free again soon.
CHUNK = 500


class Sendings:
    """The sendings as one worker reads and holds them, on its *database* connection."""

    def __init__(self, database: WorkerConnection) -> None:
        self._database = database

    def is_held(self, email: Claimed) -> bool:
        """Return whether the sending of *email* is held because the server refused it."""
        return self._exists(_same_sending(email), emails.c.status == Status.HELD.value, emails.c.reply.startswith(HELD))

    def has_others(self, email: Claimed) -> bool:
        """Return whether other emails of the same sending are queued or being sent."""
        is_open = emails.c.status.in_([Status.QUEUED.value, Status.SENDING.value])
        return self._exists(_same_sending(email), emails.c.id != email.id, is_open)

    def hold(self, email: Claimed, reply: str) -> int:
        """Hold every queued email of the sending of *email*, because of the server's *reply*; return how many."""
        queued = emails.c.status == Status.QUEUED.value
        some = sa.select(emails.c.id).where(_same_sending(email), queued).limit(CHUNK)
        values = {"status": Status.HELD.value, "reply": f"{HELD}: {reply}"}
        held = 0
        while True:
            with self._database.begin() as connection:
                take_write_lock(connection)
                # PostgreSQL checks the second condition again after it has waited for a claim.
                count = connection.execute(sa.update(emails).where(emails.c.id.in_(some), queued).values(values)).rowcount
            held += count
            if not count:
                return held

    def _exists(self, *conditions: sa.ColumnElement[bool]) -> bool:
        with self._database.begin() as connection:
            return connection.scalar(sa.select(emails.c.id).where(*conditions).limit(1)) is not None


def _same_sending(email: Claimed) -> sa.ColumnElement[bool]:
    column, value = ("content_id", email.content_id) if email.key is None else ("key", email.key)
    same: sa.ColumnElement[bool] = emails.c[column] == value
    return same
