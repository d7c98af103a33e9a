"""create_app(): assembles the parts of the site, and knows no detail of any."""

from __future__ import annotations

from flask import Flask

from flasky import admin, auth, errors, headers, inbox, limiting, main, migrating, shell
from flasky.config import ROOT, Settings
from flasky.extensions import bootstrap, csrf, db, login
from flasky.mail import mail
from flasky.sqlite import configure_sqlite


def create_app(settings: Settings | None = None) -> Flask:
    """Return the site, configured by *settings*, or by the environment.

    Raises ConfigurationError where the environment is wrong.
    """
    settings = settings or Settings.from_env()
    app = Flask(__name__, template_folder=ROOT / "templates", static_folder=ROOT / "static")
    app.config.from_mapping(settings.as_config(app.instance_path))
    db.init_app(app)
    configure_sqlite(app, db)
    mail.init_app(app)
    for extension in (bootstrap, csrf, login):
        extension.init_app(app)
    for part in (migrating, headers, errors, limiting, main, auth, admin, inbox, shell):
        part.init_app(app)
    return app
