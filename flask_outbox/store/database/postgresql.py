"""How this library connects to PostgreSQL: no wait without an end, nothing prepared behind a pooler, and failovers noticed.

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
# The same for the server, unless it is configured: the transaction of a client that has vanished would keep its locks for two
# hours, and nobody could claim the emails that it was about to claim.
SERVER_KEEPALIVES = """
SELECT set_config('tcp_keepalives_idle', '10', false),
       set_config('tcp_keepalives_interval', '5', false),
       set_config('tcp_keepalives_count', '3', false)
FROM pg_catalog.pg_settings WHERE name = 'tcp_keepalives_idle' AND source = 'default'
"""
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
        event.listen(engine, "connect", _on_connect)
    event.listen(engine, "handle_error", _notice_failover)
    engine.dispose()


def _add_timeouts(dialect: Dialect, record: Any, arguments: list[Any], options: dict[str, Any]) -> None:
    options.setdefault("connect_timeout", os.environ.get("PGCONNECT_TIMEOUT", CONNECT_TIMEOUT))
    # libpq reads no environment variable for these.
    for name, value in TIMEOUTS.items():
        options.setdefault(name, value)


def _on_connect(connection: Any, record: Any) -> None:
    """Find out whether a pooler stands between, and set up the session accordingly.

    A pooler (PgBouncer, for example) answers for no single backend, so the id that it gives when connecting is not that of the
    backend which executes the statement. The next transaction may get another backend, so no state may stay in this one:
    psycopg must not prepare what it has executed five times.
    """
    autocommit, connection.autocommit = connection.autocommit, True
    cursor = connection.cursor()
    cursor.execute("SELECT pg_catalog.pg_backend_pid()")
    if cursor.fetchone()[0] == connection.info.backend_pid:
        cursor.execute(SERVER_KEEPALIVES)
    elif hasattr(connection, "prepare_threshold"):  # psycopg2 has none, and prepares nothing
        connection.prepare_threshold = None
    cursor.close()
    connection.autocommit = autocommit


def _notice_failover(context: ExceptionContext) -> None:
    """Treat a server that has become read-only as a lost connection: the next one may lead to the new primary."""
    error: Any = context.original_exception
    if getattr(error, "sqlstate", None) == READ_ONLY or getattr(error, "pgcode", None) == READ_ONLY:
        context.is_disconnect = True
