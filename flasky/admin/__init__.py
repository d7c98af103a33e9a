"""The operator's pages, behind one guard."""

from flask import Flask

from flasky.admin import dashboard
from flasky.admin.guard import guard


def init_app(app: Flask) -> None:
    """Register the pages, and put the guard before everything under /admin."""
    app.before_request(guard)
    dashboard.init_app(app)
