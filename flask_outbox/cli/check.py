"""The command that compares the tables in the database with the expected ones: check."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..state import current_state
from ..store.models import Base
from ..store.schema.compare import compare, statements
from .group import mail_cli
from .printing import count

if TYPE_CHECKING:
    from collections.abc import Iterable

    import sqlalchemy as sa


@mail_cli.command("check")
@click.option("--sql", is_flag=True, help="Print the SQL statements that remove the differences, instead of the differences.")
def check_command(*, sql: bool) -> None:
    """Compare the outbox tables with the expected ones.

    Exits with code 1 if they differ. With Flask-Migrate, remove a difference with flask db migrate and flask db upgrade. Without
    it, review the output of --sql and run it. A comment in that output marks what plain SQL cannot do, and makes the exit code 1.
    """
    differences = compare(current_state().engine, _expected_tables())
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


def _expected_tables() -> Iterable[sa.Table]:
    """Return the tables as the host's metadata describes them, with its schema and naming convention; or else our own."""
    own = Base.metadata.sorted_tables
    metadata = current_state().database.metadata
    if metadata is None:
        return own
    names = {table.name for table in own}
    return [table for table in metadata.sorted_tables if table.name in names] or own
