"""What an operator reads in the outbox: the emails to an address."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_outbox import Email
from flask_outbox.store.reading.newest import newest_to
from flasky.extensions import db

pytestmark = pytest.mark.usefixtures("quiet")


def found(address: str) -> list[int]:
    with Session(db.engine) as session:
        return [email.id for email in newest_to(session, address, 10)]


@pytest.mark.parametrize("asked", ["susan@example.com", "Susan@example.com", "SUSAN@EXAMPLE.COM"])
def test_an_address_is_found_whatever_the_case_of_its_letters(put: Any, asked: str) -> None:
    for address in ("Susan@example.com", "susan@Example.com", "Other@example.com"):
        put(address)
    assert found(asked) == [2, 1]


def test_letters_beyond_ascii_have_a_case_too(put: Any) -> None:
    put("Zoë@example.com")
    assert found("zoë@example.com") == found("ZOË@example.com") == [1]


def test_an_email_that_an_older_version_has_stored_is_found(put: Any) -> None:
    put("Susan@example.com")
    with db.engine.begin() as connection:
        connection.execute(sa.update(Email).values(recipient_lower=None))
    assert found("susan@example.com") == [1]


def test_the_search_uses_an_index(put: Any) -> None:
    put()
    asked: list[Any] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    sa.event.listen(db.engine, "before_cursor_execute", note)
    found("b@example.com")
    sa.event.remove(db.engine, "before_cursor_execute", note)
    ((statement, parameters),) = asked
    with db.engine.connect() as connection:
        is_sqlite = connection.dialect.name == "sqlite"
        if not is_sqlite:
            # An empty table is read as a whole.
            connection.exec_driver_sql("SET enable_seqscan = off")
        plan = connection.exec_driver_sql(("EXPLAIN QUERY PLAN " if is_sqlite else "EXPLAIN ") + statement, parameters)
        steps = [row[-1] for row in plan]
    assert sum("ix_mail_email_recipient" in step for step in steps) == 2, steps
    assert not any("SCAN mail_email" in step or "Seq Scan on mail_email" in step for step in steps), steps
