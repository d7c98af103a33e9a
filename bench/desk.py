"""Fills an outbox as a large site has it, for the operator's desk: of ten emails seven are finished, two scheduled, one failed.

``python -m bench.desk sqlite:////tmp/desk.sqlite3`` makes a million; the tables are created if they are missing.
"""

from __future__ import annotations

import argparse
import sys
import time
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from bench.rows import NUMBERS
from flask_outbox.store.models import Base

EMAILS = 1_000_000
# The emails are spread over so many days, up to now.
DAYS = 90
# In one transaction.
CHUNK = 100_000
TEMPLATES = (
    "mail/welcome",
    "mail/reset",
    "mail/invoice",
    "mail/reminder",
    "mail/newsletter",
    "mail/confirm",
    "mail/receipt",
    "mail/digest",
)
WORDS = (
    "Welcome",
    "Reset your password",
    "Your invoice",
    "A reminder",
    "News of the week",
    "Confirm your address",
    "Your receipt",
    "Digest",
)
REPLIES = tuple(f"550 5.1.1 {what} unknown" for what in ("user", "mailbox", "recipient", "account")) + tuple(
    f"554 5.7.1 rejected by the policy of {who}"
    for who in ("the provider", "the domain", "the list", "the filter", "the owner", "the host")
)
SECONDS = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f000', '{start}', '+' || ({seconds}) || ' seconds')",
    "postgresql": "(timestamptz '{start}+00' + ({seconds}) * interval '1 second')",
}
TRUE = {"sqlite": "0", "postgresql": "false"}
BLOB = {"sqlite": "CAST({text} AS BLOB)", "postgresql": "convert_to({text}, 'UTF8')"}


class Filler:
    """Adds *count* emails to the empty tables of *engine*'s database, in SQL alone."""

    def __init__(self, engine: sa.Engine, count: int) -> None:
        self._engine, self._count, self._dialect = engine, count, engine.dialect.name
        self._start = datetime.now(UTC) - timedelta(days=DAYS)

    def fill(self) -> None:
        """Create the tables, fill them, and bring the database's statistics up to date."""
        Base.metadata.create_all(self._engine)
        for first in range(1, self._count + 1, CHUNK):
            numbers = NUMBERS[self._dialect].format(first=first, last=min(first + CHUNK - 1, self._count))
            with self._engine.begin() as connection:
                for table, where, values in (self._contents(), self._emails(), self._attempts()):
                    names, selected = ", ".join(values), ", ".join(values.values())
                    statement = f"INSERT INTO {table} ({names}) SELECT {selected} FROM {numbers} AS n WHERE {where}"
                    # A % is part of the SQL: psycopg is given no parameters.
                    connection.exec_driver_sql(statement.replace("%", "%%") if self._dialect == "postgresql" else statement)
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            if self._dialect == "postgresql":
                for table in ("mail_content", "mail_email", "mail_attempt"):
                    connection.exec_driver_sql(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), {self._count})")
                connection.exec_driver_sql("VACUUM (ANALYZE)")
            else:
                connection.exec_driver_sql("ANALYZE")

    def _at(self, more: str = "0") -> str:
        seconds = f"i * {DAYS * 86400 / self._count:.6f} + {more}"
        return SECONDS[self._dialect].format(start=self._start.strftime("%Y-%m-%d %H:%M:%S"), seconds=seconds)

    def _contents(self) -> tuple[str, str, dict[str, str]]:
        text = "'Subject: number ' || i || '" + "x" * 600 + "'"
        return (
            "mail_content",
            "true",
            {
                "id": "i",
                "message_id": "'<' || i || '@www.example.com>'",
                "sender": "'shop@example.com'",
                "subject": f"{_one_of(WORDS)} || ' ' || i",
                "source": BLOB[self._dialect].format(text=text),
                "size": "620",
                "secret": TRUE[self._dialect],
                "created_at": self._at(),
                "request_id": "'request-' || i",
                "origin": "'POST /orders/<int:id>'",
            },
        )

    def _emails(self) -> tuple[str, str, dict[str, str]]:
        recipient = "'susan' || (i % 300000) || '@example' || (i % 50) || '.com'"
        finished, waits = "i % 10 < 7 OR i % 10 = 9", "i % 10 IN (7, 8)"
        return (
            "mail_email",
            "true",
            {
                "id": "i",
                "content_id": "i",
                "recipient": recipient,
                "recipient_lower": recipient,
                "status": "CASE WHEN i % 10 = 9 THEN 'failed' WHEN i % 10 IN (7, 8) THEN 'queued' "
                "WHEN i % 500 = 0 THEN 'cancelled' WHEN i % 500 = 1 THEN 'expired' ELSE 'sent' END",
                "priority": "10",
                "send_at": f"CASE WHEN {waits} THEN {self._at(str(DAYS * 2 * 86400))} ELSE {self._at()} END",
                "due_since": self._at(),
                "tries": f"CASE WHEN {finished} THEN 1 ELSE 0 END",
                "reply": f"CASE WHEN i % 10 = 9 THEN {_one_of(REPLIES, 10)} WHEN {finished} THEN '250 2.0.0 Ok: ' || i END",
                "failure": f"CASE WHEN i % 10 = 9 THEN {_one_of(REPLIES, 10)} END",
                "template": _one_of(TEMPLATES),
                "created_at": self._at(),
                "finished_at": f"CASE WHEN {finished} THEN {self._at('1')} END",
            },
        )

    def _attempts(self) -> tuple[str, str, dict[str, str]]:
        return (
            "mail_attempt",
            "i % 10 < 7 OR i % 10 = 9",
            {
                "id": "i",
                "email_id": "i",
                "started_at": self._at("0.5"),
                "seconds": "0.05 + (i % 100) / 1000.0",
                "worker": "'worker-' || (i % 4)",
                "outcome": "CASE WHEN i % 10 = 9 THEN 'refused' ELSE 'sent' END",
                "code": "CASE WHEN i % 10 = 9 THEN 550 ELSE 250 END",
                "reply": f"CASE WHEN i % 10 = 9 THEN {_one_of(REPLIES, 10)} ELSE 'Ok: queued as ' || i END",
            },
        )


def _one_of(texts: tuple[str, ...], each: int = 1) -> str:
    """Return SQL that takes the texts in turn, each for *each* numbers."""
    cases = " ".join(f"WHEN {place} THEN '{text}'" for place, text in enumerate(texts))
    return f"(CASE (i / {each}) % {len(texts)} {cases} END)"


def main() -> None:
    """Fill the database at a URL."""
    parser = argparse.ArgumentParser(prog="python -m bench.desk", description="Fill an outbox as a large site has it.")
    parser.add_argument("url", help="the database: sqlite:////tmp/desk.sqlite3")
    parser.add_argument("count", nargs="?", type=int, default=EMAILS)
    arguments = parser.parse_args()
    engine, began = sa.create_engine(arguments.url), time.monotonic()
    Filler(engine, arguments.count).fill()
    engine.dispose()
    print(f"{arguments.count:,} emails in {time.monotonic() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
