"""Configure SQLite for a site: WAL, a busy timeout, foreign keys and full durability."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flask import Flask
from sqlalchemy import event

from flasky.extensions import db

# Longer than any transaction of the site.
BUSY_TIMEOUT_MS = 15_000


def init_app(app: Flask) -> None:
    """Configure every SQLite connection of *app*'s engines when it opens."""
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
        "synchronous = FULL",  # a committed email survives a power cut
        "cache_size = -500",  # in kB for each connection; the system caches the file as well
    )
    for pragma in pragmas:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
