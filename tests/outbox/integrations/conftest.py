"""An app with Flask-Security's features, whose mail stays in the outbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask
from flask_security import Security, SQLAlchemyUserDatastore
from flask_security.models import fsqla_v3
from flask_sqlalchemy import SQLAlchemy

from flask_outbox import Mail
from flask_outbox.integrations.flask_security import OutboxMailUtil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

db = SQLAlchemy()
fsqla_v3.FsModels.set_db_info(db)


class Role(db.Model, fsqla_v3.FsRoleMixin):
    pass


class User(db.Model, fsqla_v3.FsUserMixin):
    pass


@pytest.fixture
def make_secure(tmp_path: Path) -> Iterator[Callable[..., Flask]]:
    """A function that makes an app; its keywords are settings of Flask-Security, without the prefix."""
    made: list[Flask] = []

    def make(config: dict[str, Any] | None = None, **settings: Any) -> Flask:
        app = Flask("secure", root_path=str(tmp_path), instance_path=str(tmp_path))
        app.config |= {
            "SECRET_KEY": "a key that is used for tests alone",
            "SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path / 'secure.sqlite3'}",
            "MAIL_DELIVERY": "manual",
            "MAIL_DEFAULT_SENDER": "a@b.example",
            "WTF_CSRF_ENABLED": False,
            "SECURITY_PASSWORD_SALT": "salt",
            "SECURITY_PASSWORD_HASH": "plaintext",
            "SECURITY_EMAIL_VALIDATOR_ARGS": {"check_deliverability": False},
            "SECURITY_USE_REGISTER_V2": True,
        }
        app.config |= config or {}
        app.config |= {f"SECURITY_{name.upper()}": value for name, value in settings.items()}
        db.init_app(app)
        Mail().init_app(app)
        datastore = SQLAlchemyUserDatastore(db, User, Role)
        Security(app, datastore, mail_util_cls=OutboxMailUtil)
        made.append(app)
        with app.app_context():
            db.create_all()
        return app

    yield make
    for app in made:
        with app.app_context():
            db.session.remove()
            db.engine.dispose()
