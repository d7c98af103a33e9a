"""A page in the site's look for whatever goes wrong: what happened, and what to do."""

from __future__ import annotations

import logging

from flask import Flask, g, render_template, request
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import DBAPIError
from werkzeug.exceptions import HTTPException, SecurityError

from flasky.extensions import login

log = logging.getLogger("flasky")

PAGES = {
    400: ("That did not work", "The request could not be understood. Go back and try again."),
    403: ("Not for you", "You are signed in, but this page is for administrators alone."),
    404: ("Nothing here", "There is no page at this address. It may have moved, or the link may be mistyped."),
    405: ("Not this way", "This address does not take that kind of request."),
    413: ("Too much", "That was larger than this site takes. Send something shorter."),
    429: ("One moment", "That was a little often. Wait a minute, then try again."),
    500: ("Our fault", "Something went wrong on our side, and has been noted. Try again in a moment."),
    503: ("Back in a moment", "The site cannot reach a part of itself just now. Nothing was saved; try again in a minute."),
}
CSRF = ("That form was too old", "The form had been open for too long, or your browser keeps no cookies. Try again.")
# The one page that cannot be built from a template: a request for a foreign host has no urls.
FOREIGN_HOST = "<!doctype html><html lang='en'><title>Bad request</title><h1>Bad request</h1><p>This site does not go by that name."


def init_app(app: Flask) -> None:
    """Register the pages."""
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(CSRFError, _csrf_error)
    app.register_error_handler(SecurityError, _foreign_host)
    app.register_error_handler(DBAPIError, _database_error)


def page(code: int) -> ResponseReturnValue:
    """Return the page for *code*, one of PAGES."""
    return _page(code, *PAGES[code])


def _page(code: int, title: str, text: str) -> ResponseReturnValue:
    if code >= 500:  # noqa: PLR2004 - our fault
        # With a broken database, Flask-Login's asking it who is signed in would break this page too.
        g._login_user = login.anonymous_user()  # noqa: SLF001 - where it keeps the answer
    return render_template("errors/error.html", code=code, title=title, text=text), code


def _http_error(error: HTTPException) -> ResponseReturnValue:
    code = error.code or 500
    if error.response is not None or code < 400:  # noqa: PLR2004 - a redirect is an HTTPException too
        return error
    answer = _page(code, *PAGES.get(code, (error.name, error.description or "")))
    kept = [(name, value) for name, value in error.get_headers() if name in {"Allow", "Retry-After"}]
    return *answer, kept  # type: ignore[misc]


def _csrf_error(error: CSRFError) -> ResponseReturnValue:
    return _page(400, *CSRF)


def _foreign_host(error: SecurityError) -> ResponseReturnValue:
    log.warning(
        "refused a request for the host %.100r: to answer to it, set FLASKY_BASE_URL, or add it to FLASKY_TRUSTED_HOSTS",
        request.environ.get("HTTP_HOST", ""),
    )
    return FOREIGN_HOST, 400


def _database_error(error: DBAPIError) -> ResponseReturnValue:
    if not error.connection_invalidated and type(error).__name__ not in {"OperationalError", "InterfaceError"}:
        raise error
    log.error("the database is away: %s", str(error.orig).partition("\n")[0])
    return page(503)
