"""Times in the database: always with a time zone, and by one clock that all workers share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

if TYPE_CHECKING:
    from datetime import timedelta

    from sqlalchemy import Dialect
    from sqlalchemy.engine import Connection
    from sqlalchemy.sql.compiler import SQLCompiler


class UTCDateTime(sa.types.TypeDecorator[datetime]):
    """An aware datetime, stored as UTC and returned aware, also on SQLite, which knows no time zones."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the value to store; raise ValueError for a datetime without a time zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            message = f"{value!r} has no time zone: pass an aware datetime, for example datetime.now(UTC)"
            raise ValueError(message)
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the stored value as an aware datetime."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def host_now() -> datetime:
    """Return the time by this host's clock."""
    return datetime.now(UTC)


class Now(FunctionElement[datetime]):
    """The time in SQL: by PostgreSQL's clock, because the clocks of two hosts differ, or by this host's for SQLite.

    It is the same throughout a statement. A subclass may override ``after``, to say that much later.
    """

    type = UTCDateTime()
    inherit_cache = True

    @property
    def after(self) -> timedelta | None:
        """Return how much later than now."""
        return None


@compiles(Now)
def _compile_now(now: Now, compiler: SQLCompiler, **options: Any) -> str:
    def value() -> datetime:
        return host_now() + now.after if now.after else host_now()

    name = type(now).__name__.lower()
    return compiler.process(sa.bindparam(name, type_=now.type, callable_=value), **options)


@compiles(Now, "postgresql")
def _compile_now_for_postgresql(now: Now, compiler: SQLCompiler, **options: Any) -> str:
    # Not clock_timestamp(), with which no index can be searched, and not now(), which is the start of the transaction.
    return f"(statement_timestamp() + interval '{now.after.total_seconds()} seconds')" if now.after else "statement_timestamp()"


def database_now(connection: Connection) -> datetime:
    """Return the time that all workers share: PostgreSQL's, because the clocks of two hosts differ, or this host's for SQLite."""
    if connection.dialect.name == "postgresql":
        now: datetime = connection.scalars(sa.select(sa.func.clock_timestamp())).one()
        return now.astimezone(UTC)
    return host_now()
