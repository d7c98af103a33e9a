"""The site's logs: as text, or as JSON with FLASKY_LOG_FORMAT=json."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_outbox import json_logs

if TYPE_CHECKING:
    from flask import Flask


def init_app(app: Flask) -> None:
    """Write JSON if the settings say so; before any other part logs anything."""
    if app.config["FLASKY_LOG_FORMAT"] == "json":
        json_logs(app)
