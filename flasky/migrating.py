"""``flask db``, loaded on demand: Alembic takes 12 MB that workers and web processes never use."""

from __future__ import annotations

from typing import Any

import click
from flask import Flask

from flasky.config import ROOT
from flasky.extensions import db


class _LateSettings:
    """Load Flask-Migrate when one of its settings is read."""

    def __init__(self, app: Flask) -> None:
        self._app = app

    def __getattr__(self, name: str) -> Any:
        from flask_migrate import Migrate  # noqa: PLC0415 - loads Alembic

        # Batch mode: SQLite alters a table by copying it.
        Migrate(render_as_batch=True).init_app(self._app, db, directory=str(ROOT / "migrations"))
        return getattr(self._app.extensions["migrate"], name)


class _LateCommand(click.Command):
    """Load Flask-Migrate's command when it is called."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        from flask_migrate.cli import db as command  # noqa: PLC0415 - likewise

        context: click.Context = command.make_context(info_name, args, parent, **extra)
        return context


def init_app(app: Flask) -> None:
    """Add ``flask db ...``."""
    app.extensions["migrate"] = _LateSettings(app)
    app.cli.add_command(_LateCommand("db", help="Perform database migrations."))
