"""The tables are the same with every version of SQLAlchemy, so that Alembic finds no change after an upgrade."""

from __future__ import annotations

import sqlalchemy as sa

from flask_outbox import Email


def test_no_column_leaves_its_type_to_the_version_of_sqlalchemy() -> None:
    """SQLAlchemy 2.0 and 2.1 differ in what they make of a float: its type has to be named."""
    floats = {
        f"{table.name}.{column.name}": type(column.type)
        for table in Email.metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, sa.Float)
    }
    assert floats == {"mail_attempt.seconds": sa.Double, "mail_slowdown.speed": sa.Double}
