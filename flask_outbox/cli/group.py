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
from ..store.status.failures import explain

# What a database that cannot be used raises. Other errors of SQLAlchemy's are bugs, and deserve their traceback.
DATABASE_ERRORS = (sa.exc.DBAPIError, sa.exc.TimeoutError)


class MailGroup(AppGroup):
    """A group whose commands report errors of mail and database in one line, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; raise click's own error for an error of the library or the database."""
        try:
            return super().invoke(ctx)
        except (MailError, NotPossible) as error:
            raise click.ClickException(str(error)) from error
        except DATABASE_ERRORS as error:
            raise click.ClickException(". ".join(explain(error))) from error


mail_cli = MailGroup("mail", help="Send email, look up what happened to it, and operate the outbox.")


def open_session() -> Session:
    """Return a session on the outbox; it is closed when the command ends."""
    session: Session = click.get_current_context().with_resource(Session(current_state().engine))
    return session
