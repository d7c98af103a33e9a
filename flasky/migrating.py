"""Flask-Migrate, loaded when somebody migrates: Alembic takes 12 MB, which no worker and no web process has a use for."""

from __future__ import annotations

from typing import Any

import click
from flask import Flask

from flasky.config import ROOT
from flasky.extensions import db


class _LateSettings:
    """Stand for Flask-Migrate's settings until somebody asks for one of them."""

    def __init__(self, app: Flask) -> None:
        self._app = app

    def __getattr__(self, name: str) -> Any:
        from flask_migrate import Migrate  # noqa: PLC0415 - that is the point

        # SQLite changes a table only by copying it: batch mode.
        Migrate(render_as_batch=True).init_app(self._app, db, directory=str(ROOT / "migrations"))
        return getattr(self._app.extensions["migrate"], name)


class _LateCommand(click.Command):
    """Stand for Flask-Migrate's command until it is called."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        from flask_migrate.cli import db as command  # noqa: PLC0415

        context: click.Context = command.make_context(info_name, args, parent, **extra)
        return context


def init_app(app: Flask) -> None:
    """Add ``flask db ...``."""
    app.extensions["migrate"] = _LateSettings(app)
    app.cli.add_command(_LateCommand("db", help="Perform database migrations."))
