"""A small app of somebody else's: users who are greeted by email, over Flask-SQLAlchemy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from jinja2 import DictLoader
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_outbox import Email, Mail, send_email

if TYPE_CHECKING:
    from flask_outbox.testing import RecordedOutbox

TEMPLATES = {
    "mail/welcome.txt": "Welcome, {{ name }}!\n\nGood to have you.",
    "mail/welcome.html": "<p>Welcome, <b>{{ name }}</b>!</p>",
    "mail/bye.txt": "Bye.",
    "mail/bye.html": "<p>Bye.</p>",
}


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)


class User(db.Model):  # type: ignore[name-defined, misc]
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(50), unique=True)


def create_app(database_url: str, **settings: Any) -> Flask:
    app = Flask("host")
    app.jinja_loader = DictLoader(TEMPLATES)
    app.config.update(TESTING=True, SQLALCHEMY_DATABASE_URI=database_url, MAIL_DEFAULT_SENDER="site@example.com")
    app.config.update(settings)
    db.init_app(app)
    Mail(app)

    @app.post("/users/<name>")
    def add(name: str) -> str:
        db.session.add(User(name=name))
        greet(name)
        db.session.commit()
        return "added"

    with app.app_context():
        db.create_all()
    return app


def greet(name: str) -> Any:
    return send_email(f"{name}@example.com", f"Welcome, {name}", "mail/welcome", name=name)


def recipients(outbox: RecordedOutbox) -> list[str]:
    return [email.recipient for email in outbox]


def in_database() -> list[str]:
    """Return the status of every email, by a connection of its own."""
    with db.engine.connect() as connection:
        return list(connection.scalars(sa.select(Email.status).order_by(Email.id)))
