"""``flask mail check``: one line for each difference, SQL that removes it, and an exit code for scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_outbox.store.models import Base
from flasky.extensions import db
from tests.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

ADVICE = (
    "run your migrations (flask db upgrade; flask db migrate generates what is missing), "
    "or the statements that flask mail check --sql prints"
)


@pytest.fixture
def run(quiet: Flask) -> Callable[..., Any]:
    return lambda *words: quiet.test_cli_runner().invoke(args=["mail", *words])


def damage(*statements: str) -> None:
    with db.engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def test_tables_as_expected_are_one_line(run: Any) -> None:
    result = run("check")
    assert (result.exit_code, result.output) == (0, "the outbox tables are as expected\n")
    assert (run("check", "--sql").exit_code, run("check", "--sql").output) == (0, "-- nothing to do\n")


def test_each_difference_is_one_line_and_says_what_to_do(run: Any) -> None:
    damage("DROP INDEX ix_mail_email_status", "ALTER TABLE mail_email DROP COLUMN reply", "DROP TABLE mail_health")
    result = run("check")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "table mail_health is missing: create it",
        "column mail_email.reply is missing: add it",
        "index on mail_email (status, id) is missing: create it",
    ]
    assert result.stderr == f"Error: 3 differences: {ADVICE}\n"


def test_the_printed_sql_makes_an_empty_database_right(run: Any, put: Any) -> None:
    db.drop_all()
    assert "flask mail check" in run("list").stderr
    assert len(run("check").stdout.splitlines()) == len(Base.metadata.tables)
    result = run("check", "--sql")
    assert result.exit_code == 0
    damage(*filter(str.strip, result.stdout.split(";")))
    assert run("check").exit_code == 0
    put()
    assert run("list").exit_code == 0


def test_what_plain_sql_cannot_do_is_a_comment_and_an_error(run: Any, quiet: Flask) -> None:
    db.drop_all()
    metadata = sa.MetaData()
    for table in Base.metadata.sorted_tables:
        table.to_metadata(metadata)
    metadata.tables["mail_email"].append_column(sa.Column("tenant", sa.Integer, nullable=False))
    metadata.create_all(db.engine)
    result = run("check", "--sql")
    assert result.exit_code == 1
    assert result.stdout.startswith("-- column mail_email.tenant is not the outbox's, and NOT NULL without a default")
    assert result.stdout.count("\n") == 1
    assert result.stderr == "Error: plain SQL cannot remove 1 difference: see the comments\n"


def test_a_command_says_that_a_column_is_missing(run: Any) -> None:
    damage("ALTER TABLE mail_email DROP COLUMN reply")
    result = run("list")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: the outbox tables are out of date (")
    assert "Run your migrations (flask db upgrade), or see what is missing: flask mail check" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_database_that_is_away_is_one_sentence(make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "create_all", lambda: None)
    app = make_app(database_url=f"postgresql://nobody@127.0.0.1:{free_port()}/nothing")
    result = app.test_cli_runner().invoke(args=["mail", "check"])
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: the database cannot be used: ")
