"""Accounts: sign in, sign out, and ``flask users`` to create them."""

from flask import Blueprint, Flask

bp = Blueprint("auth", __name__, url_prefix="/auth")

from flasky.auth import views  # noqa: E402, F401 - registers the views on bp
from flasky.auth.accounts import load_user  # noqa: E402 - behind bp, which the views import
from flasky.auth.cli import users_cli  # noqa: E402 - likewise
from flasky.extensions import login  # noqa: E402 - likewise


def init_app(app: Flask) -> None:
    """Register the blueprint and the commands, and configure Flask-Login."""
    login.login_view = "auth.sign_in"
    login.login_message = "Please sign in to see this page."
    login.login_message_category = "info"
    login.session_protection = "basic"
    login.user_loader(load_user)
    app.register_blueprint(bp)
    app.cli.add_command(users_cli)
