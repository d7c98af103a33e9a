"""Metrics and health for machines: ``/metrics`` in Prometheus' format, ``/healthz`` and ``/readyz``.

::

    app.register_blueprint(monitoring(token="..."), url_prefix="/-")
"""

from .blueprint import monitoring

__all__ = ["monitoring"]
