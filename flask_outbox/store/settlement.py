"""Write how one email stands, and the row of its attempt, in one commit: the statement that runs for every email.

It is prepared, and executed on the driver itself, because Core's own part costs twice the database's. PostgreSQL gets both
rows in one statement, which is a transaction of its own: one round trip instead of four.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from .models import attempts, emails
from .prepared import Prepared
from .sqlite_lock import take_write_lock

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Dialect

# How long SQLite may go on settling without waiting for the disk, in seconds. A commit survives a killed process all the same;
# what a power cut takes back goes out again, so this bounds the copies. Waiting each time would halve the speed.
UNSYNCED = 0.01
NORMAL = 1
NEW = ("status", "reply", "tries", "send_at", "finished_at")
NOTED = ("email_id", "worker", "started_at", "seconds", "outcome", "code", "enhanced", "reply")


def _statements() -> tuple[sa.Update, sa.Insert, sa.Insert]:
    """Return how an email is settled, how its attempt is noted, and both as one."""
    mine = emails.c.id == sa.bindparam("email_id"), emails.c.lease == sa.bindparam("held_lease")
    new: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in NEW}
    settle = sa.update(emails).where(*mine).values(lease=sa.null(), lease_until=sa.null(), **new)
    noted = {name: sa.bindparam(name, type_=attempts.c[name].type) for name in NOTED}
    settled = settle.returning(emails.c.id).cte("settled")
    source = sa.select(settled.c.id, *(noted[name] for name in NOTED[1:]))
    return settle, sa.insert(attempts).values(noted), sa.insert(attempts).from_select(NOTED, source)


SETTLE, NOTE, SETTLE_AND_NOTE = _statements()


class Settlement:
    """The statements for one *dialect*; ``write`` raises the driver's own errors."""

    def __init__(self, dialect: Dialect) -> None:
        self._settle, self._note = Prepared(SETTLE, dialect), Prepared(NOTE, dialect)
        self._both = Prepared(SETTLE_AND_NOTE, dialect) if dialect.name == "postgresql" else None
        self._is_sqlite = dialect.name == "sqlite"
        self._synced_at, self._is_synced = 0.0, True

    def write(self, connection: Connection, settled: dict[str, Any], attempt: dict[str, Any] | None) -> bool:
        """Commit on *connection*, and return False where the lease is lost: then the attempt alone is noted, for it was made."""
        if self._both is not None and attempt is not None:
            _set_autocommit(connection, on=True)
            cursor = connection.connection.cursor()
            return bool(self._both.execute(cursor, settled | attempt)) or not self._note.execute(cursor, attempt)
        is_synced = time.monotonic() - self._synced_at >= UNSYNCED
        if self._is_sqlite:
            _synchronize(connection, fully=is_synced)
        take_write_lock(connection)
        changed = self.execute(connection, settled, attempt)
        connection.connection.commit()
        if is_synced:
            self._synced_at = time.monotonic()
        self._is_synced = is_synced
        return changed

    def execute(self, connection: Connection, settled: dict[str, Any], attempt: dict[str, Any] | None) -> bool:
        """Execute as part of the transaction on *connection*."""
        cursor = connection.connection.cursor()
        changed = self._settle.execute(cursor, settled)
        if attempt is not None:
            self._note.execute(cursor, attempt)
        return bool(changed)

    def prepare(self, connection: Connection) -> None:
        """Have *connection* ready for a transaction of several statements, after what ``write`` has made of it."""
        if self._both is not None:
            _set_autocommit(connection, on=False)

    def hurry(self, connection: Connection) -> None:
        """Let what follows on *connection* not wait for the disk: a claim that is lost costs nothing."""
        if self._is_sqlite:
            _synchronize(connection, fully=False)

    def rest(self, connection: Connection) -> None:
        """Have everything on the disk, and leave *connection* to others as it was."""
        self.prepare(connection)
        if not self._is_sqlite:
            return
        if not self._is_synced:
            # A checkpoint waits for the disk; a commit without changes would not.
            connection.connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self._is_synced = True
        _synchronize(connection, fully=True)


def _synchronize(connection: Connection, *, fully: bool) -> None:
    """Let SQLite wait for the disk as the app has set it, or once a checkpoint; on this connection alone."""
    info, cursor = connection.info, connection.connection.cursor()
    if "synchronous" not in info:
        info["synchronous"] = info["synchronous now"] = cursor.execute("PRAGMA synchronous").fetchone()[0]
    level = info["synchronous"] if fully else min(info["synchronous"], NORMAL)
    if level != info["synchronous now"]:
        cursor.execute(f"PRAGMA synchronous = {level}")
        info["synchronous now"] = level


def _set_autocommit(connection: Connection, *, on: bool) -> None:
    """Make each statement on *connection* a transaction of its own, or not; it stays so, because asking the driver takes time."""
    info, driver = connection.info, connection.connection.driver_connection
    if info.get("autocommit", False) is not on:
        driver.autocommit = info["autocommit"] = on  # type: ignore[union-attr]
