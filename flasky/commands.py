"""Commands that report a database error in one line, without a traceback."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from flask.cli import AppGroup
from sqlalchemy.exc import DBAPIError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def database_errors_in_one_line() -> Iterator[None]:
    """Raise ClickException for an error of the database."""
    try:
        yield
    except DBAPIError as error:
        said = str(error.orig).strip().partition("\n")[0] or type(error.orig).__name__
        message = (
            f"the database cannot be used: {said}. Check DATABASE_URL, and whether its tables are up to date: flask db upgrade"
        )
        raise click.ClickException(message) from error


class DatabaseGroup(AppGroup):
    """A group of such commands."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with database_errors_in_one_line():
            return super().invoke(ctx)
