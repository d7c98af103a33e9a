"""How this library connects to PostgreSQL: no wait without an end, no prepared statement behind a pooler, and failovers noticed.

It listens to the host's engine, so that a request of the host is protected like a worker. What the host has set itself, stays.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from sqlalchemy import event

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect, Engine, ExceptionContext

# libpq's options (https://www.postgresql.org/docs/current/libpq-connect.html), in seconds, tcp_user_timeout in milliseconds. If
# packets are dropped without a reply, a statement fails after five seconds and a new connection after five more for each
# address: whether the statement is on its way (tcp_user_timeout) or waits at the server (keepalives, which the kernel answers).
TIMEOUTS = {
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 3,
    "tcp_user_timeout": 5000,
}
CONNECT_TIMEOUT = 5
# The drivers that pass these options to libpq.
LIBPQ = ("psycopg", "psycopg2")
# https://www.postgresql.org/docs/current/errcodes-appendix.html: read_only_sql_transaction.
READ_ONLY = "25006"


def watch(engine: Engine) -> None:
    """Listen to *engine* if it is PostgreSQL's, and drop idle connections that were opened without TIMEOUTS."""
    if engine.dialect.name != "postgresql" or event.contains(engine, "handle_error", _notice_failover):
        return
    if engine.dialect.driver in LIBPQ:
        event.listen(engine, "do_connect", _add_timeouts)
        event.listen(engine, "connect", _prepare_nothing_behind_a_pooler)
    event.listen(engine, "handle_error", _notice_failover)
    engine.dispose()


def _add_timeouts(dialect: Dialect, record: Any, arguments: list[Any], options: dict[str, Any]) -> None:
    options.setdefault("connect_timeout", os.environ.get("PGCONNECT_TIMEOUT", CONNECT_TIMEOUT))
    # libpq reads no environment variable for these.
    for name, value in TIMEOUTS.items():
        options.setdefault(name, value)


def _prepare_nothing_behind_a_pooler(connection: Any, record: Any) -> None:
    """Stop psycopg from preparing statements if a pooler stands between: the next transaction may get another backend.

    psycopg prepares what it has executed five times. A pooler (PgBouncer, for example) answers for no single backend, so the id
    it gives when connecting is not that of the backend which executes the statement.
    """
    if getattr(connection, "prepare_threshold", None) is None:  # psycopg2 prepares nothing
        return
    autocommit, connection.autocommit = connection.autocommit, True
    (backend,) = connection.execute("SELECT pg_catalog.pg_backend_pid()").fetchone()
    connection.autocommit = autocommit
    if backend != connection.info.backend_pid:
        connection.prepare_threshold = None


def _notice_failover(context: ExceptionContext) -> None:
    """Treat a server that has become read-only as a lost connection: the next one may lead to the new primary."""
    error: Any = context.original_exception
    if getattr(error, "sqlstate", None) == READ_ONLY or getattr(error, "pgcode", None) == READ_ONLY:
        context.is_disconnect = True
