"""The group ``flask mail``: it turns every expected error into one line that says what to do."""

from __future__ import annotations

from typing import Any

import click
import sqlalchemy as sa
from flask.cli import AppGroup
from sqlalchemy.orm import Session

from ..errors import MailError
from ..state import current_state
from ..store.operations.actions import NotPossible

# PostgreSQL's codes for a missing table and a missing column.
UNDEFINED_TABLE, UNDEFINED_COLUMN = "42P01", "42703"


class MailGroup(AppGroup):
    """A group whose commands report errors of mail and database in one line, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; raise click's own error for an error of the library or the database."""
        try:
            return super().invoke(ctx)
        except (MailError, NotPossible) as error:
            raise click.ClickException(str(error)) from error
        except sa.exc.DBAPIError as error:
            raise click.ClickException(_explain(error)) from error


def _explain(error: sa.exc.DBAPIError) -> str:
    said = next(iter(str(error.orig).splitlines()), "") or type(error.orig).__name__
    code = getattr(error.orig, "sqlstate", None)
    remedy = "run your migrations (flask db upgrade), or see what is missing: flask mail check"
    if "no such table" in said or code == UNDEFINED_TABLE:
        return f"the outbox has no tables yet ({said}): {remedy}"
    if "no such column" in said or "has no column" in said or code == UNDEFINED_COLUMN:
        return f"the outbox tables are out of date ({said}): {remedy}"
    return f"the database cannot be used: {said}"


mail_cli = MailGroup("mail", help="Send email, look up what happened to it, and operate the outbox.")


def open_session() -> Session:
    """Return a session on the outbox; it is closed when the command ends."""
    session: Session = click.get_current_context().with_resource(Session(current_state().engine))
    return session
