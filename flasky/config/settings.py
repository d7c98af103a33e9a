"""The one reader of the environment: ``Settings`` has a typed, documented field for each variable.

marshmallow reads the site's own variables; the library reads its ``MAIL_*`` itself. Every problem is reported at once.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dotenv import load_dotenv
from marshmallow import Schema, ValidationError

import flask_outbox
from flask_outbox import MailSettings
from flasky.config import checks, flask_keys, kinds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from marshmallow.fields import Field

ROOT = Path(__file__).resolve().parent.parent.parent
# Its trailing space is intended.
UNSTRIPPED = "flasky_mail_subject_prefix"
# The library's field falls back to FLASKY_MAIL_SENDER; the site's field keeps what was set.
FALLS_BACK = "default_sender"
LIBRARY = {known.name: known for known in fields(MailSettings)}


class ConfigurationError(flask_outbox.ConfigurationError):
    """The app cannot start with these settings; the message lists every problem, and so does ``problems``."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(problems)
        self.args = ("The configuration is wrong:\n" + "\n".join(f"  - {problem}" for problem in problems),)


def setting(kind: Field[Any], default: Any, meaning: str, *, secret: bool = False) -> Any:
    """Return a dataclass field that knows its kind and its meaning; a secret one stays out of the repr."""
    return field(default=default, repr=not secret, metadata={"kind": kind, "meaning": meaning})


def of_library(name: str) -> Any:
    """Return a dataclass field for the library's setting *name*, with the library's default and meaning."""
    known = LIBRARY[name]
    return field(default=known.default, repr=known.repr, metadata={"library": name, "meaning": known.metadata["meaning"]})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One field for each environment variable, whose name is the field's in capitals.

    A field takes the value itself or the text of the variable. Raises ConfigurationError with every problem.
    """

    secret_key: str = setting(kinds.text(), "", "Signs sessions and forms: at least 16 random characters. Required.", secret=True)
    database_url: str = setting(
        kinds.text(kinds.check_database),
        "",
        "Database: SQLite or PostgreSQL. Empty: `instance/flasky.sqlite3`. `postgres://` is understood.",
        secret=True,
    )
    redis_url: str = setting(
        kinds.text(), "", "Redis, for RQ and for limits shared by all processes. Empty: no Redis.", secret=True
    )
    redis_tls_verify: bool = setting(
        kinds.switch(), True, "Verify the certificate of a `rediss://` server. Heroku's is self-signed: turn this off there."
    )

    flasky_base_url: str = setting(
        kinds.text(kinds.check_base_url), "", "URL of the site; links in mail begin with it. Empty: `http://localhost:PORT`."
    )
    flasky_trusted_hosts: tuple[str, ...] = setting(
        kinds.Names(validate=kinds.check_hosts), (), "Other host names that the site answers to, separated by commas."
    )
    flasky_proxies: int = setting(kinds.count(), 0, "Number of trusted proxies in front of the site (Heroku: 1).")
    flasky_dev: bool = setting(
        kinds.switch(), False, "Development: adds the mailbox pages and trusts loopback host names. Never on a real site."
    )
    flasky_mailbox_port: int = setting(kinds.port(), 1025, "Port of the development mailbox on loopback.")
    flasky_log_format: str = setting(
        kinds.text(kinds.check_log_format), "", "Format of the logs: `text`, or `json` with one object a line. Empty: `text`."
    )

    flasky_metrics_token: str = setting(
        kinds.text(kinds.check_token),
        "",
        "Token for `/-/metrics`, `/-/healthz` and `/-/readyz` from another machine. Empty: this machine alone.",
        secret=True,
    )

    flasky_admin: str = setting(kinds.text(kinds.check_mailbox), "", "Address notified of each new name. Empty: nobody.")
    flasky_form_limit: str = setting(kinds.text(kinds.check_limit), "10 per minute", "Most form posts from one address.")
    flasky_admin_mail_limit: str = setting(
        kinds.text(kinds.check_limit), "30 per hour", "Most emails to the administrator about new names."
    )

    flasky_mail_subject_prefix: str = setting(kinds.text(kinds.check_header), "[Flasky] ", "Put before every subject.")
    flasky_mail_sender: str = setting(
        kinds.text(kinds.check_mailbox), "Flasky Admin <flasky@example.com>", "Sender of the site's mail."
    )
    flasky_mail_dispatch: str = setting(
        kinds.text(), "", "Who delivers: `rq`, `thread`, `inline` or `manual`. Empty: `rq` with a REDIS_URL, otherwise `thread`."
    )

    mail_server: str = of_library("server")
    mail_port: int = of_library("port")
    mail_use_tls: bool = of_library("use_tls")
    mail_use_ssl: bool = of_library("use_ssl")
    mail_tls_ca: str = of_library("tls_ca")
    mail_username: str | None = of_library("username")
    mail_password: str | None = of_library("password")
    mail_default_sender: str | None = of_library("default_sender")
    mail_dkim_keys: tuple[str, ...] = of_library("dkim_keys")
    mail_suppress_send: bool = of_library("suppress_send")
    mail_max_emails: int | None = of_library("max_emails")
    mail_connections: int = of_library("connections")
    mail_ehlo_name: str = of_library("ehlo_name")
    mail_auth: str = of_library("auth")
    mail_oauth_client_id: str = of_library("oauth_client_id")
    mail_oauth_client_secret: str = of_library("oauth_client_secret")
    mail_oauth_refresh_token: str = of_library("oauth_refresh_token")
    mail_oauth_token_url: str = of_library("oauth_token_url")
    mail_inline_css: bool = of_library("inline_css")
    mail_template_folder: str = of_library("template_folder")
    mail_retry_for: timedelta = of_library("retry_for")
    mail_rate: str = of_library("rate")
    mail_redis_prefix: str = of_library("redis_prefix")
    mail_allow_to: tuple[str, ...] = of_library("allow_to")
    mail_redirect_to: str = of_library("redirect_to")
    mail_debug: bool = of_library("debug")
    mail_timeout: float = of_library("timeout")

    port: int = setting(kinds.port(), 5000, "Port that the site listens on.")
    web_concurrency: int = setting(kinds.positive(), 2, "Number of web processes.")
    web_threads: int = setting(kinds.positive(), 4, "Threads of each web process.")
    web_timeout: int = setting(kinds.positive(), 30, "Seconds after which a web process that hangs is replaced.")

    def __post_init__(self) -> None:
        wrong = self._read_own()
        problems = [f"{name.upper()} {sentence}" for name, sentences in wrong.items() for sentence in sentences]
        # A problem that names an invalid variable is only its consequence.
        others = (*checks.problems(self), *self._read_library())
        problems += [problem for problem in others if not _names_any(problem, wrong)]
        if problems:
            raise ConfigurationError(problems)

    def _read_own(self) -> dict[str, list[str]]:
        """Parse the site's own fields; return the problems of each invalid one, which gets its default."""
        own = [known for known in fields(self) if "kind" in known.metadata]
        wrong: dict[str, list[str]] = {}
        try:
            values = _schema().load({known.name: getattr(self, known.name) for known in own})
        except ValidationError as error:
            values, wrong = error.valid_data, error.messages_dict
        for known in own:
            object.__setattr__(self, known.name, known.default if known.name in wrong else values[known.name])
        return wrong

    def _read_library(self) -> list[str]:
        """Parse the library's fields, and return its problems under the site's names."""
        try:
            mail = MailSettings.from_config(flask_keys.for_mail(self))
        except flask_outbox.ConfigurationError as error:
            return flask_keys.in_site_names(self, error.problems)
        for known in fields(self):
            name = known.metadata.get("library", FALLS_BACK)
            if name != FALLS_BACK:
                object.__setattr__(self, known.name, getattr(mail, name))
        return []

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read *environ*; by default the process's own, with ``.env`` for missing variables.

        Raises ConfigurationError with every problem. PYTHON_DOTENV_DISABLED=1 ignores ``.env``.
        """
        if environ is None:
            load_dotenv(ROOT / ".env")
            environ = os.environ
        texts: dict[str, Any] = {}
        for known in fields(cls):
            text = environ.get(known.name.upper())
            if text is not None and known.name != UNSTRIPPED:
                text = text.strip()
            # An empty variable sets a text, but no number or switch.
            if text or (text == "" and isinstance(known.default, str)):
                texts[known.name] = text
        return cls(**texts)

    @property
    def base_url(self) -> str:
        """Return the URL of the site, without a slash at the end."""
        return self.flasky_base_url.rstrip("/") or f"http://localhost:{self.port}"

    @property
    def trusted_hosts(self) -> list[str]:
        """Return every host name that the site answers to."""
        own = kinds.split(self.base_url).hostname or ""
        loopback = ["localhost", "127.0.0.1"] if self.flasky_dev else []
        return sorted({own, *(host.lower() for host in self.flasky_trusted_hosts), *loopback})

    def sqlalchemy_url(self, instance_path: str) -> str:
        """Return the database URL for SQLAlchemy."""
        if not self.database_url:
            return f"sqlite:///{Path(instance_path) / 'flasky.sqlite3'}"
        return kinds.sqlalchemy_url(self.database_url)

    def as_config(self, instance_path: str) -> dict[str, Any]:
        """Return the keys of ``app.config``."""
        return flask_keys.for_flask(self, instance_path)


@cache
def _schema() -> Schema:
    return Schema.from_dict({known.name: known.metadata["kind"] for known in fields(Settings) if "kind" in known.metadata})()


def _names_any(problem: str, names: Mapping[str, object]) -> bool:
    return not {name.upper() for name in names}.isdisjoint(problem.replace(":", " ").split())
