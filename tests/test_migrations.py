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
from tests.visiting import fill

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


def test_the_command_is_there_and_nobody_else_loads_alembic(site: Callable[..., Site]) -> None:
    house = site()
    assert "upgrade" in house.run("flask", "db", "--help")
    assert "0001" in house.run("flask", "db", "heads")
    loaded = house.run("python", "-c", "import sys, wsgi; print('alembic' in sys.modules, 'db' in wsgi.app.cli.commands)")
    assert loaded.split() == ["False", "True"]
