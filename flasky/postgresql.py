"""Answer at once while PostgreSQL is away: after a failed connection, one request a second tries another, and nobody else waits.

How long that one waits is the library's matter (``flask_outbox.store.postgresql``).
"""

from __future__ import annotations

import threading
import time
from typing import Any

from flask import Flask
from sqlalchemy import event

from flasky.extensions import db

# How long to wait after a failed connection before another is tried, in seconds.
TRY_EVERY = 1.0


def init_app(app: Flask) -> None:
    """Open *app*'s connections to PostgreSQL through a ``Connector`` for each engine; after ``mail``, which sets the timeouts."""
    with app.app_context():
        for engine in db.engines.values():
            if engine.dialect.name == "postgresql":
                event.listen(engine, "do_connect", Connector().connect)


class Connector:
    """Opens the connections of one engine, and remembers whether the database is away."""

    def __init__(self) -> None:
        self._reason = ""
        self._next_at = 0.0
        self._trying = threading.Lock()

    def connect(self, dialect: Any, record: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
        """Return a new connection, or raise the driver's OperationalError; called by SQLAlchemy."""
        if not self._reason:
            return self._open(dialect, arguments, options)
        if time.monotonic() < self._next_at or not self._trying.acquire(blocking=False):
            raise dialect.dbapi.OperationalError(self._reason)
        try:
            return self._open(dialect, arguments, options)
        finally:
            self._trying.release()

    def _open(self, dialect: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
        try:
            connection = dialect.connect(*arguments, **options)
        except dialect.dbapi.OperationalError as error:
            self._reason, self._next_at = str(error), time.monotonic() + TRY_EVERY
            raise
        self._reason = ""
        return connection
