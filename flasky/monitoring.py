"""Metrics and health for machines, at ``/-/``."""

from __future__ import annotations

from flask import Flask

from flask_outbox.monitoring import monitoring


def init_app(app: Flask) -> None:
    """Register ``/-/metrics``, ``/-/healthz`` and ``/-/readyz``, for this machine and for FLASKY_METRICS_TOKEN."""
    app.register_blueprint(monitoring(app.config["FLASKY_METRICS_TOKEN"] or None), url_prefix="/-")
