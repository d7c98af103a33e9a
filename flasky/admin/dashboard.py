"""rq-dashboard at /admin/rq/, read-only."""

from __future__ import annotations

from typing import Any

import rq_dashboard
from flask import Flask, abort, current_app, request
from redis.exceptions import RedisError
from rq import Worker, serializers
from rq.exceptions import NoSuchJobError
from rq.serializers import JSONSerializer
from rq_dashboard import web
from werkzeug.exceptions import MethodNotAllowed

from flasky.errors import page

BLUEPRINT = "rq_dashboard"


def init_app(app: Flask) -> None:
    """Register the dashboard if the site has a Redis."""
    url = app.config["REDIS_URL"]
    if not url:
        return
    app.config["RQ_DASHBOARD_REDIS_URL"] = (url,)
    web.config.serializer = JSONSerializer
    _never_unpickle()
    web.Worker = _JsonWorker
    # The dashboard opens a client for each page, without a timeout and without REDIS_TLS_VERIFY. Ours has both, and with
    # Redis down the site's own 503 page answers.
    app.redis_conn = app.extensions["mail"].connect_redis(timeout=1.0)  # type: ignore[attr-defined] # rq-dashboard's own attribute
    web.from_url = _our_client
    web.RedisConnectionError = ()
    app.before_request(_read_only)
    app.register_blueprint(rq_dashboard.blueprint, url_prefix="/admin/rq")
    app.register_error_handler(NoSuchJobError, lambda _: page(404))
    app.register_error_handler(RedisError, lambda _: page(503))


def _never_unpickle() -> None:
    """Read everything in Redis as JSON: a pickle runs code, and the dashboard and RQ's registries name no serializer in places."""
    default: Any = serializers.DefaultSerializer
    default.loads, default.dumps = JSONSerializer.loads, JSONSerializer.dumps


class _JsonWorker(Worker):
    """RQ's Worker with the queue's serializer, which the dashboard does not pass."""

    @classmethod
    def all(cls, **options: Any) -> Any:  # type: ignore[override] # it passes its arguments on
        return super().all(**{"serializer": JSONSerializer, **options})


def _our_client(_url: str, **_: Any) -> tuple[None, Any]:
    return None, current_app.redis_conn  # type: ignore[attr-defined] # as above


def _read_only() -> None:
    """Refuse every request that changes state: the dashboard has no CSRF protection, and requeues jobs by GET."""
    if request.blueprint != BLUEPRINT:
        return
    if request.method not in {"GET", "HEAD"} or request.endpoint == f"{BLUEPRINT}.requeue_all":
        raise MethodNotAllowed(valid_methods=["GET"])
    # The dashboard numbers its Redis servers; the site has one.
    if (request.view_args or {}).get("instance_number"):
        abort(404)
