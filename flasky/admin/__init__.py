"""Pages for administrators, behind one guard."""

from flask import Flask

from flasky.admin import dashboard, desk
from flasky.admin.guard import guard


def init_app(app: Flask) -> None:
    """Register the pages, and guard everything under /admin."""
    app.before_request(guard)
    dashboard.init_app(app)
    desk.init_app(app)
