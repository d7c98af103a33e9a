"""Take SQLite's one write lock soon: its own wait sleeps for 1, 2, 5, 10 ... ms, longer than any of us holds the lock."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

# In seconds; after so many looks it is SQLite's turn to wait, as long as the app has told it to.
LOOK_EVERY, LOOKS = 0.0005, 100


def take_write_lock(connection: Connection) -> None:
    """Begin the transaction that is about to write on *connection*, unless one has begun; a server needs none of this.

    It raises nothing: where the lock cannot be had, the statement that follows waits for it, and says what is wrong.
    """
    driver: Any = connection.connection.driver_connection
    if not isinstance(driver, sqlite3.Connection) or driver.in_transaction:
        return
    cursor, info = driver.cursor(), connection.info
    if "busy_timeout" not in info:
        info["busy_timeout"] = cursor.execute("PRAGMA busy_timeout").fetchone()[0]
    cursor.execute("PRAGMA busy_timeout = 0")
    try:
        for _ in range(LOOKS):
            try:
                cursor.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                time.sleep(LOOK_EVERY)
            else:
                return
    finally:
        cursor.execute(f"PRAGMA busy_timeout = {info['busy_timeout']}")
