"""create_app(): assembles the site from its parts."""

from __future__ import annotations

from flask import Flask

from flasky import admin, auth, errors, headers, inbox, limiting, logs, mail, main, migrating, monitoring, postgresql, shell, sqlite
from flasky.config import ROOT, Settings
from flasky.extensions import bootstrap, csrf, db, login


def create_app(settings: Settings | None = None) -> Flask:
    """Return the site, configured by *settings* or by the environment.

    Raises ConfigurationError with every problem in the configuration.
    """
    settings = settings or Settings.from_env()
    app = Flask(__name__, template_folder=ROOT / "templates", static_folder=ROOT / "static")
    app.config.from_mapping(settings.as_config(app.instance_path))
    for extension in (db, bootstrap, csrf, login):
        extension.init_app(app)
    parts = (logs, sqlite, mail, postgresql, migrating, headers, errors, limiting, main, auth, admin, monitoring, inbox, shell)
    for part in parts:
        part.init_app(app)
    return app
