"""The public page: the name form."""

from flask import Blueprint, Flask

bp = Blueprint("main", __name__)

from flasky.main import views  # noqa: E402, F401 - registers the views on bp


def init_app(app: Flask) -> None:
    """Register the blueprint."""
    app.register_blueprint(bp)
