"""The known tutorial taken literally: ``create_app()`` inside each job, run by ``rq worker``, which forks for each.

The app has the seven extensions that such an app has, which Flasky has too.
"""

from __future__ import annotations

import os

from flask import Flask
from flask_bootstrap import Bootstrap5
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_login import LoginManager
from flask_mail import Mail, Message
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import CSRFProtect
from redis import Redis
from rq import Queue

from bench import letter

bootstrap, login, mail, migrate, db, csrf = Bootstrap5(), LoginManager(), Mail(), Migrate(), SQLAlchemy(), CSRFProtect()
limiter = Limiter(get_remote_address, storage_uri="memory://")
queue = Queue("emails", connection=Redis.from_url(os.environ["REDIS_URL"]))


def create_app() -> Flask:
    """Return the tutorial's app."""
    app = Flask(__name__)
    app.config.from_mapping(
        SECRET_KEY=os.environ["SECRET_KEY"],
        SQLALCHEMY_DATABASE_URI=os.environ["DATABASE_URL"],
        MAIL_SERVER=os.environ["MAIL_SERVER"],
        MAIL_PORT=int(os.environ["MAIL_PORT"]),
        MAIL_DEFAULT_SENDER=letter.SENDER,
    )
    for extension in (bootstrap, login, mail, db, csrf, limiter):
        extension.init_app(app)
    migrate.init_app(app, db)
    return app


def send_async_email(recipient: str, subject: str, text: str, html: str) -> None:
    """Be the job."""
    app = create_app()
    with app.app_context():
        mail.send(Message(subject, [recipient], text, html))


def enqueue(number: int) -> None:
    """Enqueue one letter."""
    queue.enqueue(send_async_email, *letter.arguments(number))
