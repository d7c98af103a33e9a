"""The migrations: on SQLite and PostgreSQL they make what the models say, and can be taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flask_migrate
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from flasky import create_app
from flasky.config import ROOT, Settings
from flasky.extensions import db
from tests.conftest import KEY
from tests.site.visiting import fill

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask

    from tests.servers import Site


@pytest.fixture
def app(database_url: str) -> Iterator[Flask]:
    """The site over an empty database."""
    app = create_app(Settings(secret_key=KEY, database_url=database_url, flasky_mail_dispatch="inline"))
    with app.app_context():
        yield app
        db.session.remove()
        db.engine.dispose()


def tables() -> set[str]:
    return set(sa.inspect(db.engine).get_table_names()) - {"alembic_version"}


def test_upgrading_leaves_no_difference_from_the_models(app: Flask) -> None:
    flask_migrate.upgrade()
    assert tables() == set(db.metadata.tables)
    with db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, db.metadata) == []


def test_what_autogenerate_does_not_compare_is_the_same_too(app: Flask) -> None:
    flask_migrate.upgrade()
    migrated = described()
    flask_migrate.downgrade(revision="base")
    db.create_all()
    assert described() == migrated


def described() -> dict[str, object]:
    """Return what the database says about each table: its checks, indexes with their conditions, and foreign keys' actions."""
    inspector = sa.inspect(db.engine)
    found = {}
    for name in sorted(tables()):
        checks = sorted((one["name"], str(one["sqltext"])) for one in inspector.get_check_constraints(name))
        indexes = sorted((one["name"], str(one["column_names"]), _conditions(one)) for one in inspector.get_indexes(name))
        keys = sorted((one["name"], str(one["options"])) for one in inspector.get_foreign_keys(name))
        found[name] = (checks, indexes, keys, inspector.get_pk_constraint(name)["name"])
    return found


def _conditions(index: Any) -> list[str]:
    return [str(value) for name, value in index["dialect_options"].items() if name.endswith("_where")]


def test_downgrading_takes_everything_away_and_upgrading_brings_it_back(app: Flask) -> None:
    flask_migrate.upgrade()
    flask_migrate.downgrade(revision="base")
    assert tables() == set()
    flask_migrate.upgrade()
    assert tables() == set(db.metadata.tables)


def test_the_site_works_on_what_the_migrations_make(app: Flask) -> None:
    flask_migrate.upgrade()
    client = app.test_client()
    assert fill(client, name="Zoë 智子").status_code == 302
    assert "Pleased to meet you!" in client.get("/").text


def test_the_migrations_are_one_line() -> None:
    script = ScriptDirectory(str(ROOT / "migrations"))
    assert len(script.get_heads()) == len(script.get_bases()) == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_sqlite_is_set_up_for_readers_beside_a_writer(app: Flask) -> None:
    asked = {
        name: db.session.scalar(sa.text(f"PRAGMA {name}"))
        for name in ("journal_mode", "busy_timeout", "foreign_keys", "synchronous")
    }
    assert asked == {"journal_mode": "wal", "busy_timeout": 15_000, "foreign_keys": 1, "synchronous": 2}


def test_a_change_of_the_tables_loses_no_row_and_no_index(app: Flask) -> None:
    flask_migrate.upgrade(revision="0001")
    now = "2026-11-25 12:00:00"
    with db.engine.begin() as connection:
        for statement in (
            (
                "INSERT INTO mail_content (id, message_id, sender, subject, source, size, secret, created_at) "
                f"VALUES (1, '<1@a>', 'a@a', 's', 'x', 1, false, '{now}')"
            ),
            (
                "INSERT INTO mail_email (id, content_id, recipient, status, priority, send_at, due_since, tries, created_at, key) "
                f"VALUES (1, 1, 'b@b', 'sent', 10, '{now}', '{now}', 1, '{now}', 'k')"
            ),
            (
                "INSERT INTO mail_attempt (id, email_id, started_at, seconds, worker, outcome) "
                f"VALUES (1, 1, '{now}', 0.1, 'w', 'sent')"
            ),
        ):
            connection.exec_driver_sql(statement)
    for change in (flask_migrate.upgrade, lambda: flask_migrate.downgrade(revision="0001"), flask_migrate.upgrade):
        change()
        with db.engine.connect() as connection:
            rows = [connection.scalar(sa.text(f"SELECT count(*) FROM {name}")) for name in ("mail_email", "mail_attempt")]
            assert rows == [1, 1]
            indexes = sa.inspect(connection).get_indexes("mail_email")
            where = {one["name"]: one["dialect_options"].get(f"{connection.dialect.name}_where") for one in indexes}
            assert where["ix_mail_email_due"] is not None
            assert where["ix_mail_email_lease"] is not None
            assert {"ix_mail_email_status", "ix_mail_email_recipient", "ix_mail_email_content_id"} <= where.keys()
    with pytest.raises(sa.exc.IntegrityError), db.engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO mail_email (id, content_id, recipient, status, priority, send_at, due_since, tries, created_at, key) "
            f"VALUES (2, 1, 'b@b', 'sent', 10, '{now}', '{now}', 1, '{now}', 'k')"
        )


def test_the_command_is_there_and_nobody_else_loads_alembic(site: Callable[..., Site]) -> None:
    house = site()
    assert "upgrade" in house.run("flask", "db", "--help")
    assert "0004" in house.run("flask", "db", "heads")
    loaded = house.run("python", "-c", "import sys, wsgi; print('alembic' in sys.modules, 'db' in wsgi.app.cli.commands)")
    assert loaded.split() == ["False", "True"]
