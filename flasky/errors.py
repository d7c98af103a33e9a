"""Error pages in the site's design: what happened, and what to do."""

from __future__ import annotations

import logging

from flask import Flask, g, render_template, request
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException, SecurityError

from flasky.extensions import login

log = logging.getLogger("flasky")

PAGES = {
    400: ("Bad request", "The site could not understand that request. Go back and try again."),
    403: ("Access denied", "You are signed in, but only administrators may see this page."),
    404: ("Page not found", "There is no page at this address. Check the address for typing errors."),
    405: ("Method not allowed", "This address does not accept that kind of request."),
    413: ("Too large", "That was too large for this site. Send something shorter."),
    429: ("Too many tries", "Wait a minute, then try again."),
    500: ("Something went wrong", "The error is on our side and has been logged. Try again in a moment."),
    503: ("Temporarily unavailable", "Part of the site is down. Nothing was saved; try again in a minute."),
}
CSRF = ("The form has expired", "It was open for too long, or your browser blocks cookies. Try again.")
# The only page without a template: url_for does not work for a host that is not trusted.
FOREIGN_HOST = "<!doctype html><html lang='en'><title>Bad request</title><h1>Bad request</h1><p>This site has another host name."


def init_app(app: Flask) -> None:
    """Register the pages."""
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(CSRFError, _csrf_error)
    app.register_error_handler(SecurityError, _foreign_host)
    app.register_error_handler(DBAPIError, _database_error)
    app.register_error_handler(PoolTimeout, _pool_timeout)


def page(code: int) -> ResponseReturnValue:
    """Return the error page for *code*, one of PAGES."""
    return _page(code, *PAGES[code])


def _page(code: int, title: str, text: str) -> ResponseReturnValue:
    if code >= 500:  # noqa: PLR2004 - our fault
        # Flask-Login would query the database for the user, and fail here again if the database is away.
        g._login_user = login.anonymous_user()  # noqa: SLF001 - where it keeps the answer
    return render_template("errors/error.html", code=code, title=title, text=text), code


def _http_error(error: HTTPException) -> ResponseReturnValue:
    code = error.code or 500
    if error.response is not None or code < 400:  # noqa: PLR2004 - a redirect is an HTTPException too
        return error
    answer = _page(code, *PAGES.get(code, (error.name, error.description or "")))
    kept = [(name, value) for name, value in error.get_headers() if name in {"Allow", "Retry-After"}]
    return *answer, kept  # type: ignore[misc] # a view may return three values, which the alias does not say


def _csrf_error(error: CSRFError) -> ResponseReturnValue:
    return _page(400, *CSRF)


def _foreign_host(error: SecurityError) -> ResponseReturnValue:
    log.warning(
        "refused a request for the host %.100r: to accept it, set FLASKY_BASE_URL or add it to FLASKY_TRUSTED_HOSTS",
        request.environ.get("HTTP_HOST", ""),
    )
    return FOREIGN_HOST, 400


def _database_error(error: DBAPIError) -> ResponseReturnValue:
    if not error.connection_invalidated and type(error).__name__ not in {"OperationalError", "InterfaceError"}:
        raise error
    return _unavailable(error.orig)


def _pool_timeout(error: PoolTimeout) -> ResponseReturnValue:
    return _unavailable(error)


def _unavailable(reason: object) -> ResponseReturnValue:
    log.error("the database cannot be used: %s", str(reason).partition("\n")[0])
    return page(503)
