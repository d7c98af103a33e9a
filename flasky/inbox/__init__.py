"""The development mailbox: an SMTP server that stores all mail, and pages to read it. Never in production."""

from flask import Blueprint, Flask

bp = Blueprint("mailbox", __name__, url_prefix="/mailbox")

from flasky.inbox import views  # noqa: E402, F401 - registers the views on bp


def init_app(app: Flask) -> None:
    """Register the pages, in development only."""
    if app.config["FLASKY_DEV"]:
        app.register_blueprint(bp)
