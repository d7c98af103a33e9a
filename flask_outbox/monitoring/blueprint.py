"""``monitoring()``: the blueprint, and whom it answers."""

from __future__ import annotations

import hmac
import ipaddress
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from flask import Blueprint, Response, abort, current_app, request
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ..settings import ConfigurationError
from ..state import current_state
from ..store.status.failures import explain

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

FORBIDDEN = "Open to this machine itself, and with the header 'Authorization: Bearer TOKEN'.\n"
NO_LIBRARY = "the metrics need prometheus-client: pip install flask-outbox[metrics], or monitoring(metrics=False)"
# Headers that a proxy adds (RFC 7239 and its predecessors). A proxy on the same machine connects from it for every stranger.
FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")
# A scrape may spend so long, in seconds, on figures that are not fresh; see StatusReader.
BUDGET = 0.03


def monitoring(token: str | None = None, *, metrics: bool = True, name: str = "mail_monitoring") -> Blueprint:
    """Return a blueprint with /metrics, /healthz and /readyz: ``app.register_blueprint(monitoring(), url_prefix="/-")``.

    It answers this machine itself, unless a proxy has passed the request on, and whoever sends ``Authorization: Bearer`` with the
    *token*. Without *metrics* it has health alone, and does not need prometheus-client; otherwise ConfigurationError is raised if
    that is not installed. *name* is the blueprint's name.
    """
    if metrics and find_spec("prometheus_client") is None:
        raise ConfigurationError([NO_LIBRARY])
    bp = Blueprint(name, __name__)
    bp.before_request(partial(_guard, token))
    bp.register_error_handler(DBAPIError, _database_error)
    bp.register_error_handler(PoolTimeout, _database_error)
    bp.add_url_rule("/healthz", "healthz", healthz)
    bp.add_url_rule("/readyz", "readyz", readyz)
    if metrics:
        bp.add_url_rule("/metrics", "metrics", metrics_page)
    return bp


def healthz() -> ResponseReturnValue:
    """Say that this process answers; it does not ask the database."""
    return _text("ok\n")


def readyz() -> ResponseReturnValue:
    """Answer 200 if mail goes out, else 503 with one line for each reason: its word, and since when.

    What the server said is not shown, because it may hold addresses: ``flask mail status`` shows it.
    """
    report = current_state().status_reader.health()
    if report.is_healthy:
        return _text("ok\n")
    lines = [
        f"{problem.reason}{f' since {problem.since:%Y-%m-%dT%H:%M:%SZ}' if problem.since else ''}\n" for problem in report.problems
    ]
    return _text("".join(lines), 503)


def metrics_page() -> ResponseReturnValue:
    """Return the metrics: Prometheus' text format, or OpenMetrics if the scraper prefers it."""
    from .metrics import render  # noqa: PLC0415 - loads prometheus-client only for its page

    body, content_type = render(current_state().status_reader.read(seconds=BUDGET), request.headers.get("Accept", ""))
    return Response(body, content_type=content_type)


def _database_error(error: DBAPIError | PoolTimeout) -> ResponseReturnValue:
    """Answer 503: the database has failed since health was read."""
    current_app.logger.error("the outbox cannot be read: %s", explain(error).what)
    return _text("database\n", 503)


def _guard(token: str | None) -> None:
    """Answer 403 to strangers."""
    if not (_is_local() or _has_token(token)):
        abort(_text(FORBIDDEN, 403))


def _is_local() -> bool:
    """Return whether the request comes from this machine itself, and through no proxy.

    With ProxyFix, ``remote_addr`` is the visitor's address. Without it, a proxy's header says that it is the proxy's.
    """
    try:
        address = ipaddress.ip_address(request.remote_addr or "")
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback and not any(header in request.headers for header in FORWARDED)


def _has_token(token: str | None) -> bool:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    # hmac takes as long for a wrong token as for the right one.
    is_right = hmac.compare_digest(given.strip().encode(), (token or "").encode())
    return bool(token) and scheme.lower() == "bearer" and is_right


def _text(text: str, status: int = 200) -> Response:
    return Response(
        text, status, {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}, content_type="text/plain; charset=utf-8"
    )
