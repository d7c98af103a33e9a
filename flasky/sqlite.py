"""Make SQLite behave as a server would: readers beside a writer, patience for a lock, and foreign keys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Flask
from sqlalchemy import event

if TYPE_CHECKING:
    from flask_sqlalchemy import SQLAlchemy

# Longer than any transaction of ours; a writer that holds the lock for ten seconds is waited for.
BUSY_TIMEOUT_MS = 15_000


def configure_sqlite(app: Flask, db: SQLAlchemy) -> None:
    """Set up every SQLite connection of *app*'s engines as it is opened."""
    with app.app_context():
        for engine in db.engines.values():
            if engine.dialect.name == "sqlite":
                if engine.url.database:
                    Path(engine.url.database).absolute().parent.mkdir(parents=True, exist_ok=True)
                event.listen(engine, "connect", _on_connect)


def _on_connect(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    pragmas = (
        f"busy_timeout = {BUSY_TIMEOUT_MS}",
        "journal_mode = WAL",
        "foreign_keys = ON",
        "synchronous = FULL",  # an email that was promised survives a power cut
        "cache_size = -500",  # in kB, for each connection: the system caches the file, too
    )
    for pragma in pragmas:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
