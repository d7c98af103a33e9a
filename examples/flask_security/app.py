"""Accounts with Flask-Security whose mail goes through the outbox: register, confirm the address, reset the password."""

from flask import Flask, render_template_string
from flask_security import Security, SQLAlchemyUserDatastore, auth_required
from flask_security.models import fsqla_v3
from flask_sqlalchemy import SQLAlchemy

from flask_outbox import Mail
from flask_outbox.integrations.flask_security import OutboxMailUtil

HELLO = """
<h1>Hello, {{ current_user.email }}!</h1>
<form method="post" action="{{ url_for_security("logout") }}"><button>Sign out</button></form>
"""

db = SQLAlchemy()
mail = Mail()
security = Security(mail_util_cls=OutboxMailUtil)
fsqla_v3.FsModels.set_db_info(db)


class Role(db.Model, fsqla_v3.FsRoleMixin):
    """A role; Flask-Security wants the table, this app has no roles."""


class User(db.Model, fsqla_v3.FsUserMixin):
    """An account."""


def create_app() -> Flask:
    """Make the app; whatever you set as FLASK_... in the environment overrides what stands here."""
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY="for this example alone",
        TRUSTED_HOSTS=["localhost", "127.0.0.1"],
        SQLALCHEMY_DATABASE_URI="sqlite:///accounts.sqlite3",
        MAIL_SERVER="localhost",
        MAIL_PORT=1025,
        MAIL_DEFAULT_SENDER="Accounts <accounts@example.com>",
        MAIL_BASE_URL="http://localhost:5000",
        SECURITY_PASSWORD_SALT="for this example alone",
        SECURITY_PASSWORD_HASH="pbkdf2_sha512",  # argon2, the default, needs pip install argon2-cffi
        SECURITY_EMAIL_VALIDATOR_ARGS={"check_deliverability": False},  # any address will do here, such as susan@example.com
        SECURITY_REGISTERABLE=True,
        SECURITY_USE_REGISTER_V2=True,
        SECURITY_CONFIRMABLE=True,
        SECURITY_RECOVERABLE=True,
    )
    app.config.from_prefixed_env()
    db.init_app(app)
    mail.init_app(app)
    security.init_app(app, SQLAlchemyUserDatastore(db, User, Role))
    app.add_url_rule("/", view_func=index)
    with app.app_context():
        db.create_all()
    return app


@auth_required()
def index() -> str:
    """Greet whoever has signed in."""
    return render_template_string(HELLO)
