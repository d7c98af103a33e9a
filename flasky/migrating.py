"""Flask-Migrate, loaded when somebody migrates: Alembic takes 12 MB, which no worker and no web process has a use for."""

from __future__ import annotations

from typing import Any

from flask import Flask

from flasky.config import ROOT
from flasky.extensions import db


class _Late:
    """Stands for Flask-Migrate's settings until somebody asks for one of them."""

    def __init__(self, app: Flask) -> None:
        self._app = app

    def __getattr__(self, name: str) -> Any:
        from flask_migrate import Migrate  # noqa: PLC0415 - that is the point

        # SQLite changes a table only by copying it: batch mode.
        Migrate(render_as_batch=True).init_app(self._app, db, directory=str(ROOT / "migrations"))
        return getattr(self._app.extensions["migrate"], name)


def init_app(app: Flask) -> None:
    """Have ``flask db`` find its settings; the command itself is one of Flask-Migrate's entry points."""
    app.extensions["migrate"] = _Late(app)
