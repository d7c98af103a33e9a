"""Security headers on every response, and which headers of a request are trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Flask, Response, request
from werkzeug.middleware.proxy_fix import ProxyFix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# rq-dashboard writes its scripts and styles into its pages, and compiles templates in the browser.
DASHBOARD_POLICY = POLICY.replace("script-src 'self'", "script-src 'self' 'unsafe-inline' 'unsafe-eval'").replace(
    "style-src 'self'", "style-src 'self' 'unsafe-inline'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
ONE_YEAR = 365 * 86400


def init_app(app: Flask) -> None:
    """Add the headers to every response of *app*, and trust FLASKY_PROXIES proxies."""
    app.after_request(_add_headers)
    app.wsgi_app = _lower_host(app.wsgi_app)  # type: ignore[method-assign] # as Flask's manual says
    proxies = app.config["FLASKY_PROXIES"]
    if proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=proxies, x_proto=proxies)  # type: ignore[method-assign] # likewise


def _lower_host(app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Lowercase the Host header (RFC 9110, 4.2.3), because Werkzeug compares it with TRUSTED_HOSTS case-sensitively."""

    def call(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if "HTTP_HOST" in environ:
            environ["HTTP_HOST"] = environ["HTTP_HOST"].lower()
        return app(environ, start_response)

    return call


def _add_headers(response: Response) -> Response:
    policy = DASHBOARD_POLICY if request.blueprint == "rq_dashboard" else POLICY
    response.headers.setdefault("Content-Security-Policy", policy)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.is_secure:
        response.headers.setdefault("Strict-Transport-Security", f"max-age={ONE_YEAR}")
    if not (request.endpoint or "").endswith("static"):
        # Every page depends on the visitor.
        response.headers.setdefault("Cache-Control", "no-store")
    return response
