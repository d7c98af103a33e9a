"""Insert one message and its envelopes: the statements that run for every email that is enqueued with nothing else in progress.

Prepared, and executed on the driver itself, as settling is: a flush of the session takes three times as long, and holds
SQLite's one write lock meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from .models import contents, emails
from .prepared import Prepared, translated
from .sqlite_lock import take_write_lock

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Dialect

    from .models import Content, Email


def _insert(table: sa.Table) -> sa.Insert:
    columns = {one.name: sa.bindparam(one.name, type_=one.type) for one in table.columns if not one.primary_key}
    return sa.insert(table).values(columns).returning(table.c.id)


INSERT_CONTENT, INSERT_EMAIL = _insert(contents), _insert(emails)


class Insertion:
    """The statements for one *dialect*."""

    def __init__(self, dialect: Dialect) -> None:
        self._content, self._email = Prepared(INSERT_CONTENT, dialect), Prepared(INSERT_EMAIL, dialect)

    def execute(self, connection: Connection, new: list[Email]) -> None:
        """Insert *new*, which share one message, as part of the transaction on *connection*, and give each its id."""
        content = new[0].content
        with translated(connection.dialect):
            take_write_lock(connection)
            cursor = connection.connection.cursor()
            content.id = self._content.insert(cursor, _values(content, contents))
            for one in new:
                one.content_id = content.id
                one.id = self._email.insert(cursor, _values(one, emails))


def _values(row: Content | Email, table: sa.Table) -> dict[str, Any]:
    """Return what *row* says of each column; of what it leaves open, nothing."""
    said = vars(row)
    return {name: said.get(name) for name in table.columns.keys()}  # noqa: SIM118 - the names, not the columns
