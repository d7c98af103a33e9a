"""The command that compares the tables in the database with the expected ones: check."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from ..state import current_state
from ..store.schema.compare import compare, expected_tables, statements
from .group import mail_cli
from .printing import as_json_option, count, print_json


@mail_cli.command("check")
@click.option("--sql", is_flag=True, help="Print the SQL statements that remove the differences, instead of the differences.")
@as_json_option
def check_command(*, sql: bool, as_json: bool) -> None:
    """Compare the outbox tables with the expected ones.

    Exits with code 1 if they differ. With Flask-Migrate, remove a difference with flask db migrate and flask db upgrade. Without
    it, review the output of --sql and run it. A comment in that output marks what plain SQL cannot do, and makes the exit code 1.
    """
    state = current_state()
    differences = compare(state.engine, expected_tables(state.database.metadata))
    if as_json:
        print_json({"is_as_expected": not differences, "differences": [asdict(difference) for difference in differences]})
        sys.exit(bool(differences))
    if sql:
        for text in statements(differences) or ["-- nothing to do"]:
            click.echo(text if text.startswith("--") else f"{text};")
        differences = [difference for difference in differences if not difference.statements]
        if differences:
            message = f"plain SQL cannot remove {count(len(differences), 'difference')}: see the comments"
            raise click.ClickException(message)
        return
    for difference in differences:
        click.echo(difference)
    if differences:
        message = (
            f"{count(len(differences), 'difference')}: run your migrations (flask db upgrade; flask db migrate generates what is "
            "missing), or the statements that flask mail check --sql prints"
        )
        raise click.ClickException(message)
    click.echo("the outbox tables are as expected")
