"""Take SQLite's one write lock quickly: its own wait sleeps for 1, 2, 5, 10 ... ms, longer than the outbox ever holds the lock."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

# Poll for the lock every so many seconds, so many times; after that SQLite waits by itself, as long as the app's timeout says.
POLL_EVERY, POLLS = 0.0005, 100


def take_write_lock(connection: Connection) -> None:
    """Begin a transaction that is about to write on *connection*, unless one has begun; on PostgreSQL this does nothing.

    It raises nothing: if the lock is not free in time, the next statement waits for it, and raises SQLite's own error.
    """
    driver: Any = connection.connection.driver_connection
    if not isinstance(driver, sqlite3.Connection) or driver.in_transaction:
        return
    info = connection.info
    with closing(driver.cursor()) as cursor:
        if "busy_timeout" not in info:
            info["busy_timeout"] = cursor.execute("PRAGMA busy_timeout").fetchone()[0]
        cursor.execute("PRAGMA busy_timeout = 0")
        try:
            for _ in range(POLLS):
                try:
                    cursor.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError:
                    time.sleep(POLL_EVERY)
                else:
                    return
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {info['busy_timeout']}")
