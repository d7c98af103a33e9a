"""A host app with a desk: its users are whoever the header X-User names, and ``rule`` says what they may do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase

from flask_outbox import Mail
from flask_outbox.desk import Action, desk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flask.testing import FlaskClient

    from flask_outbox import Email


@dataclass
class Rule:
    """What the host allows: everything that is not in ``denied``; ``asked`` is what the desk has asked for."""

    denied: set[Action] = field(default_factory=set)
    asked: list[tuple[Action, Email | None]] = field(default_factory=list)

    def __call__(self, action: Action, email: Email | None) -> bool:
        self.asked.append((action, email))
        return action not in self.denied


class Base(DeclarativeBase):
    pass


@pytest.fixture
def rule() -> Rule:
    return Rule()


@pytest.fixture
def app(rule: Rule, tmp_path: Path) -> Iterator[Flask]:
    app = Flask(__name__, root_path=str(tmp_path))
    app.config.update(
        SECRET_KEY="a key for tests alone",
        SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / 'host.sqlite3'}",
        MAIL_DEFAULT_SENDER="host@example.com",
        MAIL_BASE_URL="https://www.example.com",
        TESTING=True,
    )
    db = SQLAlchemy(model_class=Base)
    db.init_app(app)
    Mail(db=db).init_app(app)
    app.register_blueprint(
        desk(rule, who=lambda: request.headers.get("X-User", "susan"), to_me=lambda: "operator@example.com"), url_prefix="/desk"
    )
    app.extensions["db"] = db
    with app.app_context():
        db.create_all()
        yield app
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def session(app: Flask) -> Any:
    return app.extensions["db"].session


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def execute(session: Any) -> Any:
    """Execute SQL, and commit."""

    def execute(statement: str, **values: Any) -> Any:
        result = session.execute(sa.text(statement), values)
        session.commit()
        return result

    return execute
