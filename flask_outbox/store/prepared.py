"""A Core statement that is compiled once, for what runs for each email: Core's own part costs more than the database's."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sqlalchemy.engine import Dialect


class Prepared:
    """*statement* in the words of *dialect*'s driver; each of its parameters is a ``bindparam`` with a name."""

    def __init__(self, statement: sa.ClauseElement, dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect)
        self._sql = str(compiled)
        # Their order, where the driver wants them in order; drivers that take names get names.
        self._order: list[str] | None = compiled.positiontup
        processors = {name: one.type.dialect_impl(dialect).bind_processor(dialect) for name, one in compiled.binds.items()}
        self._processors: dict[str, Callable[[Any], Any]] = {name: one for name, one in processors.items() if one}

    def execute(self, cursor: Any, values: Mapping[str, Any]) -> int:
        """Execute on the driver's *cursor*, and return how many rows were changed; raises the driver's own errors."""
        row = dict(values)
        for name, process in self._processors.items():
            row[name] = process(row[name])
        cursor.execute(self._sql, row if self._order is None else [row[name] for name in self._order])
        changed: int = cursor.rowcount
        return changed

    def insert(self, cursor: Any, values: Mapping[str, Any]) -> int:
        """Execute an INSERT that returns the number of its row, and return that."""
        self.execute(cursor, values)
        number: int = cursor.fetchone()[0]
        return number


@contextmanager
def translated(dialect: Dialect) -> Iterator[None]:
    """Turn what the driver raises into SQLAlchemy's errors, as Core does."""
    driver: Any = dialect.dbapi
    try:
        yield
    except driver.Error as error:
        raise sa.exc.DBAPIError.instance("a prepared statement", None, error, driver.Error, hide_parameters=True) from error
