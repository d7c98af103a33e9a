"""Translate the settings into the keys of ``app.config`` that Flask, its extensions and the mail library read."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flasky.config.settings import Settings

# Longest wait of a request for a connection from the pool, in seconds.
POOL_TIMEOUT = 10
# The library's settings that have another name in the environment.
SITE_NAMES = {
    "MAIL_REDIS_URL": "REDIS_URL",
    "MAIL_REDIS_TLS_VERIFY": "REDIS_TLS_VERIFY",
    "MAIL_BASE_URL": "FLASKY_BASE_URL",
    "MAIL_TEMPLATE_SENDER": "FLASKY_MAIL_SENDER",
    "MAIL_SUBJECT_PREFIX": "FLASKY_MAIL_SUBJECT_PREFIX",
    "MAIL_DELIVERY": "FLASKY_MAIL_DISPATCH",
}


def for_mail(settings: Settings) -> dict[str, Any]:
    """Return every ``MAIL_*`` key."""
    own = {setting.name.upper(): getattr(settings, setting.name) for setting in fields(settings) if "library" in setting.metadata}
    return own | {
        "MAIL_REDIS_URL": settings.redis_url,
        "MAIL_REDIS_TLS_VERIFY": settings.redis_tls_verify,
        "MAIL_BASE_URL": settings.base_url,
        "MAIL_TEMPLATE_SENDER": settings.flasky_mail_sender,
        "MAIL_SUBJECT_PREFIX": settings.flasky_mail_subject_prefix,
        "MAIL_DELIVERY": settings.flasky_mail_dispatch or ("rq" if settings.redis_url else "thread"),
        "MAIL_DEFAULT_SENDER": settings.mail_default_sender or settings.flasky_mail_sender,
    }


def in_site_names(settings: Settings, problems: list[str]) -> list[str]:
    """Return the library's *problems* with the names of the environment variables."""
    names = SITE_NAMES if settings.mail_default_sender else SITE_NAMES | {"MAIL_DEFAULT_SENDER": "FLASKY_MAIL_SENDER"}
    return [re.sub(r"\bMAIL_\w+", lambda found: names.get(found[0], found[0]), problem) for problem in problems]


def for_flask(settings: Settings, instance_path: str) -> dict[str, Any]:
    """Return all keys of ``app.config``; the site's own settings keep their names."""
    own = {setting.name.upper(): getattr(settings, setting.name) for setting in fields(settings)}
    is_secure = settings.base_url.startswith("https://")
    return (
        own
        | for_mail(settings)
        | {
            "SECRET_KEY": settings.secret_key or "development only",
            "SQLALCHEMY_DATABASE_URI": settings.sqlalchemy_url(instance_path),
            # SQL parameters hold addresses and tokens, and must not appear in a logged error.
            "SQLALCHEMY_ENGINE_OPTIONS": {"pool_pre_ping": True, "hide_parameters": True, "pool_timeout": POOL_TIMEOUT},
            "FLASKY_BASE_URL": settings.base_url,
            "TRUSTED_HOSTS": settings.trusted_hosts,
            "SESSION_COOKIE_SECURE": is_secure,
            "SESSION_COOKIE_HTTPONLY": True,
            "SESSION_COOKIE_SAMESITE": "Lax",
            "PREFERRED_URL_SCHEME": "https" if is_secure else "http",
            # The largest form of the site has three short fields.
            "MAX_CONTENT_LENGTH": 64 * 1024,
            "BOOTSTRAP_SERVE_LOCAL": True,
            "WTF_CSRF_SSL_STRICT": is_secure,
        }
    )
