"""Settings: every environment variable, typed and documented; the one reader of os.environ."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, fields
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints
from urllib.parse import SplitResult, urlsplit

import limits
from dotenv import load_dotenv
from email_validator import EmailNotValidError, validate_email
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = Path(__file__).resolve().parent.parent
TRUE, FALSE = {"true", "1", "yes", "on"}, {"false", "0", "no", "off"}
# 16 random bytes cannot be guessed; a word can.
SHORTEST_SECRET = 16
HIGHEST_PORT = 65535
# How long a database that does not answer is waited for, in seconds.
DATABASE_TIMEOUT = 10
# An hour in seconds, and more processes than any machine wants; a socket takes no infinite timeout.
MOST = 3600
HOST = re.compile(r"\.?[\w-]+(\.[\w-]+)*")
DISPATCHERS = ("rq", "thread", "inline")


class ConfigurationError(Exception):
    """Say that the app cannot start, and list every wrong variable at once."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("The configuration is wrong:\n" + "\n".join(f"  - {problem}" for problem in problems))


def setting(default: Any, meaning: str, *, secret: bool = False) -> Any:
    """Return a dataclass field that carries its meaning; a secret one stays out of the repr."""
    return field(default=default, repr=not secret, metadata={"meaning": meaning})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One field for each environment variable, whose name is the field's in capitals."""

    secret_key: str = setting("", "Signs sessions and forms: at least 16 random characters. Required.", secret=True)
    database_url: str = setting(
        "", "Database: SQLite or PostgreSQL. Empty: `instance/flasky.sqlite3`. `postgres://` is understood.", secret=True
    )
    redis_url: str = setting("", "Redis, for RQ and for limits that hold over all processes. Empty: neither.", secret=True)
    redis_tls_verify: bool = setting(True, "Verify Redis' certificate on `rediss://`. Heroku's is self-signed: turn it off there.")

    flasky_base_url: str = setting("", "Where the site is reached; links in mail begin with it. Empty: `http://localhost:PORT`.")
    flasky_trusted_hosts: tuple[str, ...] = setting((), "Further host names to answer to, separated by commas.")
    flasky_proxies: int = setting(0, "How many proxies in front are trusted to say the visitor's address (Heroku: 1).")
    flasky_dev: bool = setting(False, "Development: the mailbox pages, and loopback hosts are trusted. Never on a real site.")
    flasky_mailbox_port: int = setting(1025, "Port of the development mailbox on loopback.")

    flasky_admin: str = setting("", "Who is written to about each new name. Empty: nobody.")
    flasky_form_limit: str = setting("10 per minute", "How often one address may post a form.")
    flasky_admin_mail_limit: str = setting("30 per hour", "How many emails about new names the administrator gets.")

    flasky_mail_subject_prefix: str = setting("[Flasky] ", "Put before every subject.")
    flasky_mail_sender: str = setting("Flasky Admin <flasky@example.com>", "The sender of the site's own mail.")
    flasky_mail_dispatch: str = setting("", "`rq`, `thread` or `inline`. Empty: `rq` with a REDIS_URL, otherwise `thread`.")

    mail_server: str = setting("localhost", "The SMTP server.")
    mail_port: int = setting(25, "Its port: 587 with MAIL_USE_TLS, 465 with MAIL_USE_SSL.")
    mail_use_tls: bool = setting(False, "STARTTLS, verified; where the server does not offer it, nothing is sent.")
    mail_use_ssl: bool = setting(False, "TLS from the first byte, verified.")
    mail_tls_ca: str = setting("", "File with a private authority (PEM) to trust beside the system's.")
    mail_username: str = setting("", "Login, where the server wants one.")
    mail_password: str = setting("", "Its password.", secret=True)
    mail_default_sender: str = setting("", "Sender of a `Message` that names none. Empty: FLASKY_MAIL_SENDER.")
    mail_suppress_send: bool = setting(False, "Send nothing, and say that it was sent.")
    mail_max_emails: int = setting(0, "Emails over one connection before a new one is made. 0: no limit.")
    mail_connections: int = setting(
        4, "Connections that one worker opens at most, to a server that takes its time; one that is quick gets one."
    )
    mail_auth: str = setting("password", "How to log in: `password`, or `xoauth2` for Gmail and Microsoft 365.")
    mail_oauth_client_id: str = setting("", "For `xoauth2`: the client id.")
    mail_oauth_client_secret: str = setting("", "For `xoauth2`: the client secret, where there is one.", secret=True)
    mail_oauth_refresh_token: str = setting("", "For `xoauth2`: the refresh token.", secret=True)
    mail_oauth_token_url: str = setting("google", "For `xoauth2`: `google`, `microsoft`, or the https URL that gives tokens.")
    mail_retry_for: timedelta = setting(timedelta(days=3), "How long an email that is put off is tried again, such as `3 days`.")
    mail_rate: str = setting("", "How fast mail may go out, over all workers: `14 per second`. Empty: as fast as it can.")
    mail_allow_to: tuple[str, ...] = setting((), "Staging: addresses and domains that get mail. Empty: all.")
    mail_redirect_to: str = setting("", "Staging: the address that gets all other mail. Empty: it is held.")
    mail_debug: bool = setting(False, "Log the conversation with the SMTP server, without passwords and bodies.")
    mail_timeout: float = setting(30.0, "The longest wait for one answer of the SMTP server, in seconds.")

    port: int = setting(5000, "Port that the site listens on.")
    web_concurrency: int = setting(2, "Processes of the web server.")
    web_threads: int = setting(4, "Threads of each of them.")
    web_timeout: int = setting(30, "Seconds after which a hanging web process is replaced.")

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise ConfigurationError(problems)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read *environ*; by default the process's own, after the project's ``.env`` has filled in what is missing.

        Raises ConfigurationError with every wrong variable in it. PYTHON_DOTENV_DISABLED=1 leaves ``.env`` alone.
        """
        if environ is None:
            load_dotenv(ROOT / ".env")
            environ = os.environ
        values, problems = _parse(environ)
        try:
            settings = cls(**values)
        except ConfigurationError as error:
            raise ConfigurationError(problems + error.problems) from error
        if problems:
            raise ConfigurationError(problems)
        return settings

    @property
    def base_url(self) -> str:
        """Return where the site is reached, without a slash at the end."""
        return self.flasky_base_url.rstrip("/") or f"http://localhost:{self.port}"

    @property
    def trusted_hosts(self) -> list[str]:
        """Return every host name that the site answers to."""
        own = _split(self.base_url).hostname or ""
        loopback = ["localhost", "127.0.0.1"] if self.flasky_dev else []
        return sorted({own, *self.flasky_trusted_hosts, *loopback})

    def sqlalchemy_url(self, instance_path: str) -> str:
        """Return the database's URL in the spelling that SQLAlchemy wants."""
        if not self.database_url:
            return f"sqlite:///{Path(instance_path) / 'flasky.sqlite3'}"
        return re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql+psycopg://", self.database_url)

    @property
    def _connect_args(self) -> dict[str, Any]:
        """Return what keeps a PostgreSQL that is unreachable from being waited for without end (libpq's connection parameters)."""
        if not self.database_url.startswith("postgres"):
            return {}
        return {"connect_timeout": DATABASE_TIMEOUT, "tcp_user_timeout": DATABASE_TIMEOUT * 1000}

    def as_config(self, instance_path: str) -> dict[str, Any]:
        """Return what Flask and its extensions read from ``app.config``."""
        own = {one.name.upper(): getattr(self, one.name) for one in fields(self)}
        none_where_empty = ("MAIL_USERNAME", "MAIL_PASSWORD", "MAIL_DEFAULT_SENDER", "MAIL_MAX_EMAILS")
        secure = self.base_url.startswith("https://")
        return (
            own
            | {name: own[name] or None for name in none_where_empty}
            | {
                "SECRET_KEY": self.secret_key or "development only",
                "SQLALCHEMY_DATABASE_URI": self.sqlalchemy_url(instance_path),
                # Parameters hold addresses and tokens, and an error is logged.
                "SQLALCHEMY_ENGINE_OPTIONS": {"pool_pre_ping": True, "hide_parameters": True, "connect_args": self._connect_args},
                "FLASKY_BASE_URL": self.base_url,
                "MAIL_BASE_URL": self.base_url,
                "MAIL_SUBJECT_PREFIX": self.flasky_mail_subject_prefix,
                "MAIL_DEFAULT_SENDER": self.mail_default_sender or self.flasky_mail_sender,
                "MAIL_DELIVERY": self.flasky_mail_dispatch or ("rq" if self.redis_url else "thread"),
                "MAIL_REDIS_URL": self.redis_url,
                "MAIL_REDIS_TLS_VERIFY": self.redis_tls_verify,
                "TRUSTED_HOSTS": self.trusted_hosts,
                "SESSION_COOKIE_SECURE": secure,
                "SESSION_COOKIE_HTTPONLY": True,
                "SESSION_COOKIE_SAMESITE": "Lax",
                "PREFERRED_URL_SCHEME": "https" if secure else "http",
                # The largest form of the site has three short fields.
                "MAX_CONTENT_LENGTH": 64 * 1024,
                "BOOTSTRAP_SERVE_LOCAL": True,
                "WTF_CSRF_SSL_STRICT": secure,
            }
        )


def _boolean(text: str) -> bool:
    if text.lower() not in TRUE | FALSE:
        message = "say true or false"
        raise ValueError(message)
    return text.lower() in TRUE


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _duration(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,5})\s*(second|minute|hour|day)s?", text)
    if not found or not int(found.group(1)):
        message = "no duration"
        raise ValueError(message)
    return timedelta(**{f"{found.group(2)}s": int(found.group(1))})


PARSERS: dict[Any, tuple[Callable[[str], Any], str]] = {
    str: (str, "text"),
    bool: (_boolean, "true or false"),
    int: (int, "a whole number"),
    float: (float, "a number"),
    tuple[str, ...]: (_names, "names separated by commas"),
    timedelta: (_duration, "a time such as 3 days, 12 hours or 30 minutes"),
}


def _parse(environ: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name, kind in get_type_hints(Settings).items():
        text = environ.get(name.upper(), "")
        parse, wanted = PARSERS[kind]
        # A prefix ends in a blank, on purpose; nothing else does.
        text = text if name == "flasky_mail_subject_prefix" else text.strip()
        if not text and not (kind is str and name.upper() in environ):
            continue
        try:
            values[name] = parse(text)
        except ValueError:
            problems.append(f"{name.upper()} is {text!r}: it has to be {wanted}")
    return values, problems


def _problems(settings: Settings) -> list[str]:
    return [
        *_site_problems(settings),
        *_store_problems(settings),
        *_mail_problems(settings),
        *_number_problems(settings),
        *_limit_problems(settings),
    ]


def _site_problems(settings: Settings) -> list[str]:
    problems = []
    if not settings.flasky_dev and len(settings.secret_key) < SHORTEST_SECRET:
        said = "missing" if not settings.secret_key else "shorter than 16 characters"
        problems.append(f"SECRET_KEY is {said}: make one with python -c 'import secrets; print(secrets.token_hex(32))'")
    url = _split(settings.base_url)
    # Werkzeug cannot be told to trust a bare IPv6 address.
    if url.scheme not in {"http", "https"} or not url.hostname or ":" in url.hostname or url.query or url.fragment:
        problems.append(f"FLASKY_BASE_URL is {settings.flasky_base_url!r}: it has to look like https://www.example.com")
    elif settings.flasky_dev and not _is_loopback(url.hostname):
        problems.append(
            "FLASKY_DEV is on, and FLASKY_BASE_URL is not on this machine: everybody could read the mailbox. Turn it off"
        )
    problems += [
        f"FLASKY_TRUSTED_HOSTS has {host!r} in it: it takes host names such as www.example.com, or .example.com for all below"
        for host in settings.flasky_trusted_hosts
        if not HOST.fullmatch(host)
    ]
    return problems


def _split(url: str) -> SplitResult:
    """Return the parts of *url*, which are empty where it is no URL at all."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return urlsplit("")
    return parts


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _store_problems(settings: Settings) -> list[str]:
    problems = []
    if settings.database_url:
        try:
            known = make_url(settings.sqlalchemy_url("")).drivername in {"sqlite", "postgresql+psycopg"}
        except (ArgumentError, ValueError):
            known = False
        if not known:
            problems.append(
                "DATABASE_URL cannot be read: it has to look like postgresql://user:password@host/name or sqlite:////path"
            )
    if settings.redis_url and _split(settings.redis_url).scheme not in {"redis", "rediss", "unix"}:
        problems.append("REDIS_URL cannot be read: it has to look like redis://localhost:6379/0")
    if settings.flasky_mail_dispatch not in {"", *DISPATCHERS}:
        problems.append(f"FLASKY_MAIL_DISPATCH is {settings.flasky_mail_dispatch!r}: it has to be one of {', '.join(DISPATCHERS)}")
    if settings.flasky_mail_dispatch == "rq" and not settings.redis_url:
        problems.append("FLASKY_MAIL_DISPATCH is rq, and REDIS_URL is not set: set it, or use thread")
    return problems


def _mail_problems(settings: Settings) -> list[str]:
    problems = [
        f"{name.upper()} is {value!r}: it has to look like name@example.com or Name <name@example.com>"
        for name in ("flasky_admin", "flasky_mail_sender", "mail_default_sender", "mail_redirect_to")
        if (value := getattr(settings, name)) and not _is_mailbox(value)
    ]
    if not settings.mail_server:
        problems.append("MAIL_SERVER is empty: mail needs a server")
    if not settings.flasky_mail_sender:
        problems.append("FLASKY_MAIL_SENDER is empty: mail needs a sender")
    if not settings.flasky_mail_subject_prefix.isprintable():
        problems.append("FLASKY_MAIL_SUBJECT_PREFIX holds a character that no header may hold")
    return problems + _login_problems(settings)


def _login_problems(settings: Settings) -> list[str]:
    problems = []
    if settings.mail_use_tls and settings.mail_use_ssl:
        problems.append("MAIL_USE_TLS and MAIL_USE_SSL are both on: STARTTLS (port 587) or TLS from the start (port 465), not both")
    if settings.mail_tls_ca and not Path(settings.mail_tls_ca).is_file():
        problems.append(f"MAIL_TLS_CA is {settings.mail_tls_ca!r}: there is no such file")
    if settings.mail_auth not in {"password", "xoauth2"}:
        problems.append(f"MAIL_AUTH is {settings.mail_auth!r}: it has to be password or xoauth2")
    if settings.mail_auth == "xoauth2":
        problems += _oauth_problems(settings)
    elif bool(settings.mail_username) != bool(settings.mail_password):
        problems.append("MAIL_USERNAME and MAIL_PASSWORD go together: one of them is missing")
    if settings.mail_username and not (settings.mail_use_tls or settings.mail_use_ssl or _is_loopback(settings.mail_server)):
        problems.append("MAIL_USERNAME is set without MAIL_USE_TLS or MAIL_USE_SSL: its password would cross the net in the clear")
    if not (settings.mail_username + settings.mail_password).isascii():
        problems.append("MAIL_USERNAME and MAIL_PASSWORD have to be ASCII")
    return problems


def _oauth_problems(settings: Settings) -> list[str]:
    problems = [
        f"{name.upper()} is missing: MAIL_AUTH=xoauth2 needs it"
        for name in ("mail_username", "mail_oauth_client_id", "mail_oauth_refresh_token")
        if not getattr(settings, name)
    ]
    url = _split(settings.mail_oauth_token_url)
    private = url.scheme == "https" or (url.scheme == "http" and _is_loopback(url.hostname or ""))
    if settings.mail_oauth_token_url not in {"google", "microsoft"} and not private:
        problems.append("MAIL_OAUTH_TOKEN_URL has to be google, microsoft or an https URL")
    return problems


def _is_mailbox(value: str) -> bool:
    named = re.fullmatch(r"[^<>@]*<([^<>]*)>", value)
    try:
        validate_email(named[1] if named else value, check_deliverability=False, globally_deliverable=False)
    except EmailNotValidError:
        return False
    return value.isprintable()


def _number_problems(settings: Settings) -> list[str]:
    problems = [
        f"{name.upper()} is {value}: a port is a number from 1 to {HIGHEST_PORT}"
        for name in ("mail_port", "port", "flasky_mailbox_port")
        if not 1 <= (value := getattr(settings, name)) <= HIGHEST_PORT
    ]
    problems += [
        f"{name.upper()} is {value:g}: it has to be more than 0, and no more than {MOST}"
        for name in ("mail_timeout", "mail_connections", "web_concurrency", "web_threads", "web_timeout")
        if not 0 < (value := getattr(settings, name)) <= MOST
    ]
    problems += [
        f"{name.upper()} is {value}: it cannot be less than 0"
        for name in ("mail_max_emails", "flasky_proxies")
        if (value := getattr(settings, name)) < 0
    ]
    return problems


def _limit_problems(settings: Settings) -> list[str]:
    problems = []
    for name in ("flasky_form_limit", "flasky_admin_mail_limit", "mail_rate"):
        if name == "mail_rate" and not settings.mail_rate:
            continue
        try:
            found = limits.parse_many(getattr(settings, name))
        except ValueError:
            found = []
        # A rate of nothing would stop the outbox; a limit of nothing is a way to turn something off.
        if len(found) != 1 or (name == "mail_rate" and not found[0].amount):
            problems.append(f"{name.upper()} is {getattr(settings, name)!r}: it has to look like '10 per minute'")
    return problems
