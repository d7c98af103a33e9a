"""A database of the release before: 10,000 emails in every state, and people, keep every value through the upgrade."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import flask_migrate
import pytest
import sqlalchemy as sa

from flasky import create_app
from flasky.config import Settings
from flasky.extensions import db
from flasky.mail import Email
from tests.conftest import KEY
from tests.site.visiting import fill

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask

BEFORE = "0002"
EMAILS = 10_000
# One message in three goes to several recipients.
CONTENTS = 6_000
NOW = datetime(2026, 11, 25, 12, 0, 0, 123456, tzinfo=UTC)
STATES = ("queued", "sending", "sent", "failed", "expired", "cancelled", "held")
RENAMED = {"users": {"name": "username"}}


@pytest.fixture
def app(database_url: str) -> Iterator[Flask]:
    """The site over an empty database."""
    settings = Settings(secret_key=KEY, database_url=database_url, flasky_admin="me@example.com", flasky_mail_dispatch="manual")
    app = create_app(settings)
    with app.app_context():
        yield app
        db.session.remove()
        db.engine.dispose()


def users() -> Iterator[dict[str, Any]]:
    for number in range(1, 501):
        is_account = number % 5 == 0
        yield {
            "id": number,
            "name": None if number % 10 == 0 else f"Zoë 智子 {number}",
            "email": f"{number}@example.com" if is_account else None,
            "password_hash": f"scrypt:32768:8:1${number}" if is_account else None,
            "is_admin": number == 5,
        }


def contents() -> Iterator[dict[str, Any]]:
    for number in range(1, CONTENTS + 1):
        source = f"Subject: {number}\r\n\r\n".encode() + bytes(range(256))
        is_secret = number % 7 == 0
        yield {
            "id": number,
            "message_id": f"<{number}@example.com>",
            "sender": "flasky@example.com",
            "subject": f"Grüße {number}",
            "source": None if is_secret and number % 2 else source,
            "size": len(source),
            "secret": is_secret,
            "created_at": NOW + timedelta(seconds=number),
        }


def emails() -> Iterator[dict[str, Any]]:
    for number in range(1, EMAILS + 1):
        status = STATES[number % len(STATES)]
        is_final = status in {"sent", "failed", "expired", "cancelled"}
        yield {
            "id": number,
            "content_id": number % CONTENTS + 1,
            "recipient": f"Person-{number}@bücher.example",
            "status": status,
            "priority": (0, 10, 20)[number % 3],
            "send_at": NOW + timedelta(minutes=number),
            "due_since": NOW + timedelta(minutes=number),
            "expires_at": NOW + timedelta(days=3) if number % 4 == 0 else None,
            "key": f"invoice-{number}" if number % 11 == 0 else None,
            "tries": number % 4,
            "lease": f"{number:032x}" if status == "sending" else None,
            "lease_until": NOW + timedelta(seconds=60) if status == "sending" else None,
            "reply": f"550 5.1.1 <{number}> no such person" if status == "failed" else None,
            "created_at": NOW,
            "finished_at": NOW + timedelta(hours=1) if is_final else None,
        }


def attempts() -> Iterator[dict[str, Any]]:
    tries = (email["id"] for email in emails() for _ in range(email["tries"]))
    for number, email_id in enumerate(tries, 1):
        yield {
            "id": number,
            "email_id": email_id,
            "started_at": NOW + timedelta(milliseconds=number),
            "seconds": number / 1024,
            "worker": "web-1:4711",
            "outcome": "deferred" if number % 2 else "failed",
            "code": 451 if number % 2 else 550,
            "enhanced": "4.7.1" if number % 2 else None,
            "reply": "try again" if number % 2 else None,
        }


def health() -> Iterator[dict[str, Any]]:
    yield {"id": 1, "reason": "535 no", "ours": True, "failures": 3, "since": NOW, "next_try_at": NOW + timedelta(minutes=2)}


# In the order of their foreign keys.
ROWS = {"users": users, "mail_content": contents, "mail_email": emails, "mail_attempt": attempts, "mail_health": health}


def put_rows() -> dict[str, list[str]]:
    """Fill the tables of today with everything that they can hold, and return the names of their columns."""
    columns = {}
    with db.engine.begin() as connection:
        for name, rows in ROWS.items():
            table = sa.Table(name, sa.MetaData(), autoload_with=connection)
            connection.execute(table.insert(), list(rows()))
            columns[name] = [column.name for column in table.columns]
            if connection.dialect.name == "postgresql" and name != "mail_health":
                connection.exec_driver_sql(f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), max(id)) FROM {name}")
    return columns


def read_rows(columns: dict[str, list[str]], renamed: dict[str, dict[str, str]]) -> dict[str, list[tuple[Any, ...]]]:
    """Return every value of *columns*, as the driver hands it out."""
    found = {}
    with db.engine.connect() as connection:
        for name, old in columns.items():
            new = ", ".join(f'"{renamed.get(name, {}).get(column, column)}"' for column in old)
            found[name] = [tuple(row) for row in connection.exec_driver_sql(f"SELECT {new} FROM {name} ORDER BY id")]
    return found


def test_an_upgrade_keeps_every_value_of_every_row(app: Flask) -> None:
    flask_migrate.upgrade(revision=BEFORE)
    columns = put_rows()
    before = read_rows(columns, {})
    assert {name: len(rows) for name, rows in before.items()} == {name: len(list(rows())) for name, rows in ROWS.items()}
    assert {row[columns["mail_email"].index("status")] for row in before["mail_email"]} == set(STATES)

    flask_migrate.upgrade()
    after = read_rows(columns, RENAMED)
    for name, rows in before.items():
        assert after[name] == rows, name

    # The site goes on where it was: its rows are known, and new ones get new numbers.
    client = app.test_client()
    assert [fill(client, name=name).status_code for name in ("Zoë 智子 1", "somebody new")] == [302, 302]
    assert db.session.scalars(sa.select(Email.id).where(Email.id > EMAILS)).all() == [EMAILS + 1]
    with pytest.raises(sa.exc.IntegrityError), db.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO users (username, is_admin) VALUES ('somebody new', false)")
    with pytest.raises(sa.exc.IntegrityError), db.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO users (is_admin) VALUES (false)")


def test_going_back_keeps_every_value_too(app: Flask) -> None:
    flask_migrate.upgrade(revision=BEFORE)
    columns = put_rows()
    before = read_rows(columns, {})
    flask_migrate.upgrade()
    flask_migrate.downgrade(revision=BEFORE)
    assert read_rows(columns, {}) == before
