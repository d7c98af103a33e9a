"""The real tables are compared with the expected ones, and the SQL for a difference removes it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import flask_migrate
import pytest
import sqlalchemy as sa

from flask_outbox.store.models import Base, copy_tables
from flask_outbox.store.schema.compare import Difference, compare, statements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask

OURS = Base.metadata
CONVENTION = {
    "ix": "index__%(column_0_N_label)s",
    "uq": "unique__%(table_name)s_%(column_0_N_name)s",
    "fk": "foreign__%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "primary__%(table_name)s",
}


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    one = sa.create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"), poolclass=sa.NullPool)
    yield one
    one.dispose()


def expected() -> sa.MetaData:
    """The expected tables, as the host's metadata would hold them; the test may change them."""
    metadata = sa.MetaData()
    copy_tables(metadata)
    return metadata


def whats(differences: list[Difference]) -> list[str]:
    return [one.what for one in differences]


def run(engine: sa.Engine, *texts: str) -> None:
    with engine.begin() as connection:
        for text in texts:
            connection.exec_driver_sql(text)


def mend(engine: sa.Engine) -> list[Difference]:
    """Run the SQL for every difference, and return what is different after that."""
    run(engine, *(text for text in statements(compare(engine, OURS)) if not text.startswith("--")))
    return compare(engine, OURS)


def insert(engine: sa.Engine) -> None:
    """Store one email with one attempt, by the expected tables alone."""
    now = "2026-11-25 12:00:00"
    run(
        engine,
        "INSERT INTO mail_content (message_id, sender, subject, source, size, secret, created_at) "
        f"VALUES ('<1@a>', 'a@a', 's', 'x', 1, false, '{now}')",
        "INSERT INTO mail_email (content_id, recipient, status, priority, send_at, due_since, tries, created_at) "
        f"SELECT max(id), 'b@b', 'sent', 10, '{now}', '{now}', 1, '{now}' FROM mail_content",
        "INSERT INTO mail_attempt (email_id, started_at, seconds, worker, outcome) "
        f"SELECT max(id), '{now}', 0.1, 'w', 'sent' FROM mail_email",
    )


# Nothing to complain of


def test_what_create_all_makes_is_as_expected(engine: sa.Engine) -> None:
    OURS.create_all(engine)
    assert compare(engine, OURS) == compare(engine, expected()) == compare(engine, list(OURS.tables.values())) == []


def test_what_the_migrations_make_is_as_expected(make_app: Callable[..., Flask], database_url: str, monkeypatch: Any) -> None:
    from flasky.extensions import db

    monkeypatch.setattr(db, "create_all", lambda: None)
    with make_app(database_url=database_url).app_context():
        flask_migrate.upgrade()
        assert compare(db.engine, OURS) == []


def test_names_do_not_matter(engine: sa.Engine) -> None:
    metadata = sa.MetaData(naming_convention=CONVENTION)
    copy_tables(metadata)
    metadata.create_all(engine)
    run(engine, "DROP INDEX ix_mail_email_status", "CREATE INDEX by_status ON mail_email (status, id)")
    assert compare(engine, OURS) == compare(engine, metadata) == []


def test_what_the_host_has_added_is_its_own_business(engine: sa.Engine) -> None:
    metadata = expected()
    metadata.tables["mail_email"].append_column(sa.Column("tenant", sa.String(20), index=True))
    metadata.tables["mail_email"].append_column(sa.Column("seen", sa.Boolean, server_default=sa.false(), nullable=False))
    sa.Table("users", metadata, sa.Column("id", sa.Integer, primary_key=True))
    metadata.create_all(engine)
    run(engine, "CREATE UNIQUE INDEX one_newsletter ON mail_email (recipient, tenant)")
    assert compare(engine, OURS) == []


def test_a_column_of_the_hosts_that_prevents_inserts_is_reported(engine: sa.Engine) -> None:
    metadata = expected()
    metadata.tables["mail_email"].append_column(sa.Column("tenant", sa.String(20), nullable=False))
    metadata.create_all(engine)
    (difference,) = compare(engine, OURS)
    assert str(difference) == (
        "column mail_email.tenant is not the outbox's, and NOT NULL without a default, so inserts fail: "
        "give it a default or make it nullable"
    )
    assert statements([difference]) == [f"-- {difference}"]


# What is missing


def test_an_empty_database_lacks_every_table_and_the_sql_makes_them(engine: sa.Engine) -> None:
    assert sorted(whats(compare(engine, OURS))) == [f"table {name} is missing" for name in sorted(OURS.tables)]
    assert mend(engine) == []
    insert(engine)


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (["DROP TABLE mail_attempt"], ["table mail_attempt is missing"]),
        (["ALTER TABLE mail_email DROP COLUMN reply"], ["column mail_email.reply is missing"]),
        (["ALTER TABLE mail_email DROP COLUMN tries"], ["column mail_email.tries is missing"]),
        (["DROP INDEX ix_mail_email_status"], ["index on mail_email (status, id) is missing"]),
        (
            ["DROP INDEX ix_mail_email_due"],
            ["index on mail_email (priority, send_at, id) where status = 'queued' is missing"],
        ),
        (
            ["DROP INDEX uq_mail_email_key_recipient"],
            ["unique index on mail_email (key, recipient) where key IS NOT NULL is missing"],
        ),
        # The name is taken: by one that is not unique, and by one that is larger than it should be.
        (
            ["DROP INDEX uq_mail_email_key_recipient", "CREATE INDEX uq_mail_email_key_recipient ON mail_email (key, recipient)"],
            ["unique index on mail_email (key, recipient) where key IS NOT NULL is missing"],
        ),
        (
            ["DROP INDEX ix_mail_email_lease", "CREATE INDEX ix_mail_email_lease ON mail_email (lease_until)"],
            ["index on mail_email (lease_until) where status = 'sending' is missing"],
        ),
        # Unique where many rows are alike.
        (
            ["DROP INDEX ix_mail_email_content_id", "CREATE UNIQUE INDEX one_each ON mail_email (content_id)"],
            ["index on mail_email (content_id) is missing"],
        ),
    ],
    ids=lambda value: value[-1][:60],
)
@pytest.mark.parametrize("is_empty", [True, False], ids=["empty", "with rows"])
def test_what_is_missing_is_reported_and_the_sql_adds_it(
    engine: sa.Engine, damage: list[str], what: list[str], *, is_empty: bool
) -> None:
    OURS.create_all(engine)
    if not is_empty:
        insert(engine)
    run(engine, *damage)
    assert whats(compare(engine, OURS)) == what
    assert mend(engine) == []
    insert(engine)
    insert(engine)


def test_a_column_that_no_default_can_fill_needs_a_migration_if_there_are_rows(engine: sa.Engine) -> None:
    OURS.create_all(engine)
    run(engine, "ALTER TABLE mail_email DROP COLUMN due_since")
    assert compare(engine, OURS)[0].statements
    run(engine, "INSERT INTO mail_content VALUES (1, '<1@a>', 'a@a', 's', 'x', 1, false, '2026-11-25 12:00:00', NULL, NULL, NULL)")
    run(
        engine,
        "INSERT INTO mail_email (content_id, recipient, status, priority, send_at, tries, created_at) "
        "VALUES (1, 'b@b', 'sent', 10, '2026-11-25 12:00:00', 1, '2026-11-25 12:00:00')",
    )
    (difference,) = compare(engine, OURS)
    assert "a migration that gives every existing row a value" in difference.remedy
    assert statements([difference]) == [f"-- {difference}"]
    run(engine, "DELETE FROM mail_email")
    assert mend(engine) == []


# What is different


def change(metadata: sa.MetaData, name: str, **values: Any) -> None:
    table, column = name.split(".")
    for attribute, value in values.items():
        setattr(metadata.tables[table].columns[column], attribute, value)


@pytest.mark.parametrize(
    ("column", "values", "what", "on"),
    [
        ("mail_email.key", {"nullable": False}, "is NOT NULL, expected nullable", "both"),
        ("mail_email.recipient", {"nullable": True}, "is nullable, expected NOT NULL", "both"),
        ("mail_email.status", {"type": sa.Integer()}, "is INTEGER, expected VARCHAR(10)", "both, by hand"),
        ("mail_content.source", {"type": sa.Text()}, "is TEXT, expected", "both, by hand"),
        ("mail_email.recipient", {"type": sa.String(64)}, "is VARCHAR(64), expected VARCHAR(320)", "postgresql"),
        ("mail_email.reply", {"type": sa.String(64)}, "is VARCHAR(64), expected TEXT", "postgresql"),
        ("mail_email.tries", {"type": sa.SmallInteger()}, "is SMALLINT, expected INTEGER", "postgresql"),
        ("mail_email.send_at", {"type": sa.DateTime()}, "is TIMESTAMP WITHOUT TIME ZONE, expected", "postgresql, by hand"),
        # Wider does no harm.
        ("mail_email.recipient", {"type": sa.Text()}, "", "both"),
        ("mail_email.tries", {"type": sa.BigInteger()}, "", "both"),
        ("mail_attempt.seconds", {"type": sa.Numeric()}, "", "both"),
    ],
)
def test_a_column_that_differs_is_reported(engine: sa.Engine, column: str, values: Any, what: str, on: str) -> None:
    metadata = expected()
    change(metadata, column, **values)
    if column == "mail_email.status":
        metadata.tables["mail_email"].indexes.clear()
    metadata.create_all(engine)
    found = [one for one in compare(engine, OURS) if one.what.startswith("column")]
    if not what or (engine.dialect.name == "sqlite" and on.startswith("postgresql")):
        assert found == []
        return
    (difference,) = found
    assert difference.what.startswith(f"column {column} {what}")
    if engine.dialect.name == "postgresql" and not on.endswith("by hand"):
        assert mend(engine) == []
    else:
        assert difference.statements == ()
        assert ("SQLite can change that only by copying" in difference.remedy) == (not on.endswith("by hand"))


@pytest.mark.parametrize("on_delete", [None, "missing"])
def test_a_foreign_key_that_is_missing_or_does_not_cascade_is_reported(engine: sa.Engine, on_delete: str | None) -> None:
    metadata = expected()
    table = metadata.tables["mail_attempt"]
    (key,) = table.foreign_key_constraints
    if on_delete == "missing":
        table.constraints.discard(key)
    else:
        key.ondelete = on_delete
    metadata.create_all(engine)
    (difference,) = compare(engine, OURS)
    assert difference.what == (
        "foreign key from mail_attempt (email_id) to mail_email is " + ("missing" if on_delete else "not ON DELETE CASCADE")
    )
    if engine.dialect.name == "postgresql":
        assert mend(engine) == []
    else:
        assert difference.statements == ()


def test_ids_that_the_database_does_not_number_are_reported(engine: sa.Engine) -> None:
    metadata = expected()
    table = metadata.tables["mail_attempt"]
    table.columns["id"].autoincrement = False
    table.columns["id"].type = sa.BigInteger()
    metadata.create_all(engine)
    (difference,) = compare(engine, OURS)
    assert difference.what == "column mail_attempt.id does not number new rows"
    if engine.dialect.name == "postgresql":
        run(engine, "ALTER TABLE mail_attempt DROP CONSTRAINT mail_attempt_email_id_fkey")
        run(engine, "INSERT INTO mail_attempt VALUES (7, 1, now(), 0.1, 'w', 'sent')", "DELETE FROM mail_attempt WHERE false")
        assert "column mail_attempt.id does not number new rows" in whats(compare(engine, OURS))
        run(engine, *difference.statements)
        insert(engine)
        with engine.connect() as connection:
            assert connection.scalar(sa.text("SELECT max(id) FROM mail_attempt")) == 8


def test_a_primary_key_that_is_missing_is_reported(engine: sa.Engine) -> None:
    OURS.create_all(engine)
    run(engine, "DROP TABLE mail_health")
    health = OURS.tables["mail_health"]
    columns = ", ".join(f"{one.name} {one.type.compile(dialect=engine.dialect)} NOT NULL" for one in health.columns)
    run(engine, f"CREATE TABLE mail_health ({columns})")
    (difference,) = compare(engine, OURS)
    assert difference.what == "primary key of mail_health is (), expected (id)"
    if engine.dialect.name == "postgresql":
        assert mend(engine) == []


# The host's own circumstances


def test_the_constraint_of_a_former_migration_is_replaced(
    make_app: Callable[..., Flask], database_url: str, monkeypatch: Any, tmp_path: Path
) -> None:
    from flasky.extensions import db

    monkeypatch.setattr(db, "create_all", lambda: None)
    with make_app(database_url=database_url).app_context():
        flask_migrate.upgrade(revision="0001")
        assert "unique index on mail_email (key, recipient) where key IS NOT NULL is missing" in whats(compare(db.engine, OURS))
        assert mend(db.engine) == []


def test_a_schema_of_the_hosts_is_looked_into_and_made(postgres_url: str) -> None:
    engine = sa.create_engine(postgres_url.replace("postgresql://", "postgresql+psycopg://"), poolclass=sa.NullPool)
    metadata = sa.MetaData(schema="My app")
    for table in OURS.sorted_tables:
        table.to_metadata(metadata, schema="My app")
    # Tables elsewhere do not count.
    OURS.create_all(engine)
    found = compare(engine, metadata)
    assert whats(found)[0] == "schema My app is missing"
    assert len(found) == 1 + len(OURS.tables)
    run(engine, *statements(found))
    assert compare(engine, metadata) == []
    run(engine, 'DROP INDEX "My app".ix_mail_email_status', 'CREATE INDEX ix_mail_email_status ON "My app".mail_email (id)')
    run(engine, 'ALTER TABLE "My app".mail_attempt DROP COLUMN reply')
    run(engine, *statements(compare(engine, metadata)))
    assert compare(engine, metadata) == []
    engine.dispose()


def test_a_schema_of_sqlites_is_another_file(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'main.sqlite3'}")
    metadata = sa.MetaData(schema="app")
    for table in OURS.sorted_tables:
        table.to_metadata(metadata, schema="app")
    assert str(compare(engine, metadata)[0]) == ("schema app is missing: ATTACH its database file whenever the engine connects")
    engine.dispose()
