"""Checks of the database: can it be used, are its tables right, does its clock agree with ours."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ..store.database.clock import database_now, host_now
from ..store.schema.compare import compare, expected_tables
from ..store.status.failures import MIGRATE, explain
from .finding import Finding, failed, ok, skipped, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection, Engine

# Further apart than this, in seconds, two clocks make logs hard to read and tokens invalid.
MOST_APART = 5.0
# More differences than this are not listed one by one.
MOST_LISTED = 3


def check_database(engine: Engine, metadata: sa.MetaData | None) -> Iterator[Finding]:
    """Yield the findings about the database; only one if it cannot be used. *metadata* describes the host's tables, if known."""
    try:
        with engine.connect() as connection:
            yield _check_engine(connection)
            yield _check_clock(connection)
        yield _check_tables(engine, metadata)
    except (DBAPIError, PoolTimeout) as error:
        yield failed("database", *explain(error))


def _check_tables(engine: Engine, metadata: sa.MetaData | None) -> Finding:
    differences = compare(engine, expected_tables(metadata))
    if not differences:
        return ok("tables", "the outbox tables are as expected")
    listed = "; ".join(difference.what for difference in differences[:MOST_LISTED])
    more = f"; and {len(differences) - MOST_LISTED} more" if len(differences) > MOST_LISTED else ""
    return failed("tables", listed + more, MIGRATE)


def _check_engine(connection: Connection) -> Finding:
    version = ".".join(str(number) for number in connection.dialect.server_version_info or ())
    return _check_sqlite(connection, version) if connection.dialect.name == "sqlite" else _check_postgresql(connection, version)


def _check_sqlite(connection: Connection, version: str) -> Finding:
    file = connection.exec_driver_sql("PRAGMA database_list").all()[0][2]
    what = f"SQLite {version} in {Path(file).name if file else 'memory'}"
    if not file:
        return warning("database", f"{what}: every email is lost when the process ends", "Use a database in a file.")
    # SQLite writes its journal beside the file.
    if not (os.access(file, os.W_OK) and os.access(Path(file).parent, os.W_OK)):
        return failed("database", f"{what}: this user may not write to the file or its folder", "Change the owner of the folder.")
    mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
    if mode != "wal":
        remedy = "Set PRAGMA journal_mode = WAL once: the guide to databases says how."
        return warning("database", f"{what}, journal mode {mode}: readers and the worker wait for each other", remedy)
    return ok("database", f"{what}, journal mode WAL")


def _check_postgresql(connection: Connection, version: str) -> Finding:
    what = f"PostgreSQL {version}"
    if connection.scalar(sa.text("SELECT pg_catalog.pg_is_in_recovery()")):
        remedy = "Connect to the primary: a standby can only be read."
        return failed("database", f"{what} is a standby", remedy)
    if connection.scalar(sa.text("SELECT pg_catalog.current_setting('synchronous_commit')")) == "off":
        what += ", synchronous_commit off: after a crash of the server, emails of its last moment go out twice"
        return warning("database", what, "Set synchronous_commit to on for this database.")
    return ok("database", what)


def _check_clock(connection: Connection) -> Finding:
    if connection.dialect.name == "sqlite":
        return skipped("clock", "SQLite uses the clock of this host")
    before = host_now()
    now, after = database_now(connection), host_now()
    # Whatever the round trip may explain is no difference.
    seconds = max((before - now).total_seconds(), (now - after).total_seconds(), 0.0)
    if seconds > MOST_APART:
        remedy = "Synchronize both clocks (NTP). Mail goes out by the database's clock; logins and logs use this host's."
        return warning("clock", f"the clocks of this host and of the database are {seconds:.0f} s apart", remedy)
    return ok("clock", "this host and the database agree on the time")
