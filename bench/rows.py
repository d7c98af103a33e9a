"""Makes many rows out of one: what a site looks like that has sent, or has yet to send, a great many emails.

It copies what a real ``send_email`` has stored, whatever columns that has, in one statement.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

NUMBERS = {
    "sqlite": "(WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last}) SELECT i FROM n)",
    "postgresql": "(SELECT generate_series({first}, {last}) AS i)",
}
# Only SQLite is asked to give each copy a number of its own, in its text and its address.
NUMBERED = {
    "source": "CAST(replace(CAST(one.source AS TEXT), '{model:07}', printf('%07d', i)) AS BLOB)",
    "recipient": "replace(one.recipient, '{model:07}', printf('%07d', i))",
}


def columns(connection: sa.Connection, table: str) -> list[str]:
    """Return the columns of *table* but for its id."""
    return [one["name"] for one in sa.inspect(connection).get_columns(table) if one["name"] != "id"]


def copy(connection: sa.Connection, table: str, numbers: range, values: dict[str, str]) -> None:
    """Copy the first row of *table* once for each of *numbers*, ``i``; *values* are SQL for what is to differ."""
    names = columns(connection, table)
    series = NUMBERS[connection.dialect.name].format(first=numbers.start, last=numbers.stop - 1)
    selected = ", ".join(values.get(name, f"one.{name}") for name in names)
    model = f"(SELECT * FROM {table} ORDER BY id LIMIT 1)"
    connection.execute(sa.text(f"INSERT INTO {table} ({', '.join(names)}) SELECT {selected} FROM {series} AS n, {model} AS one"))


def finish(engine: sa.Engine, count: int) -> None:
    """Add *count* emails that were sent long ago."""
    with engine.begin() as connection:
        copy(connection, "mail_email", range(count), {"status": "'sent'", "finished_at": "one.created_at"})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("ANALYZE"))


def queue(url: str, numbers: range, model: int = 0) -> None:
    """Add an email that is due for each of *numbers* to the SQLite database at *url*; *model* is the first row's."""
    engine = sa.create_engine(url, connect_args={"timeout": 30})
    with engine.begin() as connection:
        free = connection.execute(sa.text("SELECT max(id) FROM mail_content")).scalar_one() + 1
        numbered: dict[str, Any] = {name: sql.format(model=model) for name, sql in NUMBERED.items()}
        content = {"source": numbered["source"]}
        copy(connection, "mail_content", numbers, content)
        # Content ids follow each other, as one statement has made them.
        email = dict.fromkeys(("recipient", "recipient_lower"), numbered["recipient"])
        email |= {"content_id": f"{free} + i - {numbers.start}", "status": "'queued'"}
        untouched = {"lease": "NULL", "lease_until": "NULL", "reply": "NULL", "finished_at": "NULL", "tries": "0"}
        copy(connection, "mail_email", numbers, email | untouched)
    engine.dispose()
