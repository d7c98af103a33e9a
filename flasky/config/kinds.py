"""The kinds of settings: marshmallow fields, whose errors are sentences that follow the variable's name."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

import limits
from email_validator import EmailNotValidError, validate_email
from marshmallow import ValidationError, fields
from marshmallow.validate import Range
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable

HIGHEST_PORT = 65535
# An hour in seconds; also more processes than fit into memory.
MOST = 3600
LOG_FORMATS = ("text", "json")
HOST = re.compile(r"[\w-]+(\.[\w-]+)*")


class Names(fields.Field[tuple[str, ...]]):
    """Names separated by commas."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> tuple[str, ...]:
        names = value.split(",") if isinstance(value, str) else value
        return tuple(name.strip() for name in names if name.strip())


def text(*checks: Callable[[str], None]) -> fields.String:
    """Return a field for any text that passes *checks*."""
    return fields.String(validate=checks)


def switch() -> fields.Boolean:
    """Return a field for yes or no."""
    return fields.Boolean(error_messages={"invalid": "is {input!r}: it has to be true or false"})


def _whole(check: Range) -> fields.Integer:
    return fields.Integer(validate=check, error_messages={"invalid": "is {input!r}: it has to be a whole number"})


def port() -> fields.Integer:
    """Return a field for a TCP port."""
    return _whole(Range(1, HIGHEST_PORT, error="is {input}: a port is a number from {min} to {max}"))


def positive() -> fields.Integer:
    """Return a field for a number of processes, threads or seconds."""
    return _whole(Range(1, MOST, error="is {input}: it has to be more than 0, and no more than {max}"))


def count() -> fields.Integer:
    """Return a field for a number that may be 0."""
    return _whole(Range(0, error="is {input}: it cannot be less than 0"))


def check_database(url: str) -> None:
    """Accept a URL that SQLAlchemy can open with the installed drivers."""
    if not url:
        return
    try:
        known = make_url(sqlalchemy_url(url)).drivername in {"sqlite", "postgresql+psycopg"}
    except (ArgumentError, ValueError):
        known = False
    if not known:
        raise ValidationError("cannot be read: it has to look like postgresql://user:password@host/name or sqlite:////path")


def sqlalchemy_url(url: str) -> str:
    """Return *url* with the driver that the site installs; Heroku says ``postgres://``."""
    return re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql+psycopg://", url)


def check_base_url(url: str) -> None:
    """Accept a base URL for links, with a host that Werkzeug can trust, which excludes an IPv6 address."""
    if "@" in url:
        raise ValidationError("holds a user name or a password, and every link in a mail would show it. Remove it")
    parts = split(url)
    is_valid = parts.scheme in {"http", "https"} and HOST.fullmatch(parts.hostname or "") and not (parts.query or parts.fragment)
    if url and not is_valid:
        raise ValidationError(f"is {url!r}: it has to look like https://www.example.com")


def check_hosts(hosts: tuple[str, ...]) -> None:
    """Accept host names, and ``.example.com`` for all subdomains."""
    wrong = [host for host in hosts if not HOST.fullmatch(host.removeprefix("."))]
    if wrong:
        hint = "give host names such as www.example.com, or .example.com for all below it"
        raise ValidationError([f"holds {host!r}: {hint}" for host in wrong])


def check_mailbox(value: str) -> None:
    """Accept one address, with or without a name."""
    if not value:
        return
    named = re.fullmatch(r"[^<>@]*<([^<>]*)>", value)
    try:
        validate_email(named[1] if named else value, check_deliverability=False, globally_deliverable=False)
        is_valid = value.isprintable()
    except EmailNotValidError:
        is_valid = False
    if not is_valid:
        raise ValidationError(f"is {value!r}: it has to look like name@example.com or Name <name@example.com>")


def check_header(value: str) -> None:
    """Refuse line breaks and other control characters."""
    if not value.isprintable():
        raise ValidationError("holds a character that no header may hold: remove it")


def check_token(value: str) -> None:
    """Accept a token that is hard to guess and fits into a header; the message does not show it."""
    if value and not re.fullmatch(r"[!-~]{16,}", value):
        raise ValidationError("is no token: it has to be at least 16 letters, digits and signs without a space")


def check_limit(value: str) -> None:
    """Accept one rate limit; its amount may be 0."""
    try:
        found = limits.parse_many(value)
    except ValueError:
        found = []
    if len(found) != 1:
        raise ValidationError(f"is {value!r}: it has to look like '10 per minute'")


def split(url: str) -> SplitResult:
    """Return the parts of *url*; all are empty if it is no URL."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return urlsplit("")
    return parts


def is_loopback(host: str) -> bool:
    """Return whether *host* is this machine."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def check_log_format(value: str) -> None:
    """Raise ValidationError if *value* is no format of the logs."""
    if value and value not in LOG_FORMATS:
        raise ValidationError(f"is {value!r:.100}: it has to be one of {', '.join(LOG_FORMATS)}")
