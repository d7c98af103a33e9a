"""Settings: each variable is read and checked, every problem is reported at once, and no secret is shown."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from datetime import timedelta
from typing import Any

import pytest

from flask_outbox.message.dkim.record import generate_key, private_line
from flasky.config import ConfigurationError, Settings
from tests.site.config.reading import KEY, NAMES, OAUTH, TLS, problems, read, start

DKIM = f"hidden-6:example.com:{private_line(generate_key('hidden-6', 'example.com', 'ed25519'))}"

# Reading

READ: dict[str, tuple[str, Any]] = {
    "SECRET_KEY": ("another key of random characters", "another key of random characters"),
    "DATABASE_URL": ("sqlite:////tmp/x.db", "sqlite:////tmp/x.db"),
    "REDIS_URL": ("rediss://:pw@redis.example:6380/1", "rediss://:pw@redis.example:6380/1"),
    "REDIS_TLS_VERIFY": ("off", False),
    "FLASKY_BASE_URL": ("https://flasky.example", "https://flasky.example"),
    "FLASKY_TRUSTED_HOSTS": ("a.example, .b.example ,", ("a.example", ".b.example")),
    "FLASKY_PROXIES": ("2", 2),
    "FLASKY_DEV": ("on", True),
    "FLASKY_MAILBOX_PORT": ("2525", 2525),
    "FLASKY_LOG_FORMAT": ("json", "json"),
    "FLASKY_METRICS_TOKEN": ("a-token-for-prometheus", "a-token-for-prometheus"),
    "FLASKY_ADMIN": (" Zoë <zoe@example.com> ", "Zoë <zoe@example.com>"),
    "FLASKY_FORM_LIMIT": ("5 per second", "5 per second"),
    "FLASKY_ADMIN_MAIL_LIMIT": ("0 per hour", "0 per hour"),
    "FLASKY_MAIL_SUBJECT_PREFIX": ("Grüße: ", "Grüße: "),
    "FLASKY_MAIL_SENDER": ("me@example.com", "me@example.com"),
    "FLASKY_MAIL_DISPATCH": ("inline", "inline"),
    "MAIL_SERVER": ("smtp.example", "smtp.example"),
    "MAIL_PORT": (" 587 ", 587),
    "MAIL_USE_TLS": ("TRUE", True),
    "MAIL_USE_SSL": ("yes", True),
    "MAIL_TLS_CA": (__file__, __file__),
    "MAIL_USERNAME": ("me", "me"),
    "MAIL_PASSWORD": ("pass word", "pass word"),
    "MAIL_DEFAULT_SENDER": ("you@example.com", "you@example.com"),
    "MAIL_DKIM_KEYS": (DKIM, (DKIM,)),
    "MAIL_SUPPRESS_SEND": ("1", True),
    "MAIL_MAX_EMAILS": ("100", 100),
    "MAIL_CONNECTIONS": ("1", 1),
    "MAIL_EHLO_NAME": ("mail.example", "mail.example"),
    "MAIL_AUTH": ("xoauth2", "xoauth2"),
    "MAIL_OAUTH_CLIENT_ID": ("my-id", "my-id"),
    "MAIL_OAUTH_CLIENT_SECRET": ("s", "s"),
    "MAIL_OAUTH_REFRESH_TOKEN": ("t", "t"),
    "MAIL_OAUTH_TOKEN_URL": ("https://login.example/token", "https://login.example/token"),
    "MAIL_INLINE_CSS": ("on", True),
    "MAIL_TEMPLATE_FOLDER": ("letters", "letters"),
    "MAIL_RETRY_FOR": ("36 hours", timedelta(hours=36)),
    "MAIL_RATE": ("14 per second", "14 per second"),
    "MAIL_REDIS_PREFIX": ("shop:", "shop:"),
    "MAIL_ALLOW_TO": ("example.com,me@example.org", ("example.com", "me@example.org")),
    "MAIL_REDIRECT_TO": ("staging@example.com", "staging@example.com"),
    "MAIL_DEBUG": ("True", True),
    "MAIL_TIMEOUT": ("2.5", 2.5),
    "PORT": ("8080", 8080),
    "WEB_CONCURRENCY": ("3", 3),
    "WEB_THREADS": ("1", 1),
    "WEB_TIMEOUT": ("120", 120),
}
# What a variable cannot do without.
BESIDES = {
    "MAIL_USERNAME": TLS | {"MAIL_PASSWORD": "p"},
    "MAIL_PASSWORD": TLS | {"MAIL_USERNAME": "me"},
    "MAIL_AUTH": OAUTH,
}


def test_the_examples_below_leave_no_variable_out() -> None:
    assert list(READ) == NAMES


@pytest.mark.parametrize(("name", "text", "value"), [(name, *pair) for name, pair in READ.items()], ids=READ)
def test_every_variable_is_read(name: str, text: str, value: Any) -> None:
    settings = read(**BESIDES.get(name, {}) | {name: text})
    assert getattr(settings, name.lower()) == value
    if name != "SECRET_KEY":
        assert value != getattr(read(), name.lower())


def test_what_is_not_set_has_flask_mails_defaults() -> None:
    settings = read()
    assert (settings.mail_server, settings.mail_port, settings.mail_timeout) == ("localhost", 25, 30)
    assert {settings.mail_use_tls, settings.mail_use_ssl, settings.mail_suppress_send, settings.mail_debug} == {False}
    assert settings.flasky_mail_subject_prefix == "[Flasky] "
    assert settings.flasky_mail_sender == "Flasky Admin <flasky@example.com>"


@pytest.mark.parametrize("name", [one.name.upper() for one in fields(Settings) if not isinstance(one.default, str)])
def test_an_empty_variable_counts_as_none(name: str) -> None:
    assert read(**{name: " "}) == read()


def test_other_variables_are_ignored_and_settings_do_not_change() -> None:
    settings = read(MAIL_PORTS="x", HOME="/root")
    assert settings == read()
    with pytest.raises(FrozenInstanceError):
        settings.port = 1  # type: ignore[misc]


# Refusing


def test_every_wrong_variable_is_listed_at_once() -> None:
    wrong = {
        "SECRET_KEY": "short",
        "MAIL_PORT": "smtp",
        "MAIL_USE_TLS": "maybe",
        "FLASKY_ADMIN": "nobody",
        "FLASKY_LOG_FORMAT": "xml",
        "MAIL_RETRY_FOR": "ever",
        "MAIL_TIMEOUT": "0",
        "FLASKY_FORM_LIMIT": "often",
        "DATABASE_URL": "mysql://localhost/x",
    }
    found = problems(**wrong)
    assert {one.split()[0] for one in found} == set(wrong)
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_env(wrong)
    assert str(caught.value).splitlines() == ["The configuration is wrong:", *(f"  - {one}" for one in found)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SECRET_KEY", ""),
        ("SECRET_KEY", "fifteen letters"),
        ("SECRET_KEY", "changemechangeme"),
        ("SECRET_KEY", "please change me, I am no key"),
        ("SECRET_KEY", "passwordpassword"),
        ("DATABASE_URL", "mysql://localhost/x"),
        ("DATABASE_URL", "nonsense"),
        ("DATABASE_URL", "postgresql://host:port/x"),
        ("DATABASE_URL", "sqlite+nonsense:///x.db"),
        ("REDIS_URL", "http://localhost"),
        ("REDIS_URL", "localhost:6379"),
        ("REDIS_URL", "redis://localhost:port/0"),
        ("REDIS_URL", "redis://["),
        ("REDIS_TLS_VERIFY", "2"),
        ("FLASKY_BASE_URL", "flasky.example"),
        ("FLASKY_BASE_URL", "ftp://flasky.example"),
        ("FLASKY_BASE_URL", "https://"),
        ("FLASKY_BASE_URL", "https://flasky.example/?x"),
        ("FLASKY_BASE_URL", "https://flasky.example:port"),
        ("FLASKY_BASE_URL", "http://["),
        ("FLASKY_BASE_URL", "http://[::1]:5000"),
        ("FLASKY_BASE_URL", "https://*.example.com"),
        ("FLASKY_BASE_URL", "https://exa mple.com"),
        ("FLASKY_BASE_URL", "https://me:password@flasky.example"),
        ("FLASKY_METRICS_TOKEN", "short"),
        ("FLASKY_METRICS_TOKEN", "a token with spaces in it"),
        ("FLASKY_TRUSTED_HOSTS", "https://flasky.example"),
        ("FLASKY_TRUSTED_HOSTS", "flasky.example, *"),
        ("FLASKY_PROXIES", "-1"),
        ("FLASKY_DEV", "enabled"),
        ("FLASKY_MAILBOX_PORT", "0"),
        ("FLASKY_ADMIN", "nobody"),
        ("FLASKY_ADMIN", "a@example.com, b@example.com"),
        ("FLASKY_ADMIN", "a@example.com, B <b@example.com>"),
        ("FLASKY_ADMIN", "a@example.com\r\nBcc: b@example.com"),
        ("FLASKY_FORM_LIMIT", ""),
        ("FLASKY_FORM_LIMIT", "10"),
        ("FLASKY_ADMIN_MAIL_LIMIT", "10 per hour; 100 per day"),
        ("FLASKY_MAIL_SENDER", "Fl\rasky <flasky@example.com>"),
        ("FLASKY_MAIL_SUBJECT_PREFIX", "a\r\nBcc: b@example.com"),
        ("FLASKY_MAIL_SENDER", ""),
        ("FLASKY_MAIL_SENDER", "Flasky"),
        ("FLASKY_MAIL_DISPATCH", "celery"),
        ("FLASKY_MAIL_DISPATCH", "rq"),
        ("MAIL_SERVER", ""),
        ("MAIL_SERVER", "https://smtp.example"),
        ("MAIL_PORT", "65536"),
        ("MAIL_PORT", "2.5"),
        ("MAIL_TLS_CA", "/nowhere/ca.pem"),
        ("MAIL_USERNAME", "me"),
        ("MAIL_PASSWORD", "secret"),
        ("MAIL_DEFAULT_SENDER", "@"),
        ("MAIL_MAX_EMAILS", "-1"),
        ("MAIL_CONNECTIONS", "0"),
        ("MAIL_AUTH", "kerberos"),
        ("MAIL_RETRY_FOR", "3"),
        ("MAIL_RETRY_FOR", "0 days"),
        ("MAIL_RATE", "fast"),
        ("MAIL_REDIRECT_TO", "here"),
        ("MAIL_TIMEOUT", "nan"),
        ("MAIL_TIMEOUT", "inf"),
        ("MAIL_TIMEOUT", "-1"),
        ("PORT", "http"),
        ("WEB_CONCURRENCY", "0"),
        ("WEB_CONCURRENCY", "1.5"),
        ("WEB_THREADS", "0"),
        ("WEB_TIMEOUT", "0"),
    ],
)
def test_a_wrong_value_is_refused_by_name(name: str, text: str) -> None:
    assert any(name in one for one in problems(**{name: text}))


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"MAIL_USE_TLS": "1", "MAIL_USE_SSL": "1"}, "both on"),
        ({"MAIL_USERNAME": "me", "MAIL_PASSWORD": "p", "MAIL_SERVER": "smtp.example"}, "unencrypted"),
        ({"MAIL_USERNAME": "zoë", "MAIL_PASSWORD": "p"}, "ASCII"),
        ({"FLASKY_DEV": "1", "FLASKY_BASE_URL": "https://flasky.example"}, "everybody could read the mailbox"),
        ({"MAIL_AUTH": "xoauth2"}, "MAIL_OAUTH_REFRESH_TOKEN is missing"),
        (OAUTH | {"MAIL_OAUTH_TOKEN_URL": "http://login.example"}, "https URL"),
        (OAUTH | {"MAIL_OAUTH_TOKEN_URL": "https://["}, "https URL"),
    ],
)
def test_values_that_do_not_go_together_are_refused(environ: dict[str, str], sentence: str) -> None:
    assert any(sentence in one for one in problems(**environ))


def test_development_needs_no_key() -> None:
    assert Settings.from_env({"FLASKY_DEV": "1"}).as_config("/x")["SECRET_KEY"]


def test_settings_made_by_hand_are_checked_too() -> None:
    with pytest.raises(ConfigurationError, match="SECRET_KEY is missing"):
        Settings()


# Secrets

SECRETS = {
    "SECRET_KEY": "hidden-" + KEY,
    "DATABASE_URL": "postgresql://me:hidden-1@localhost/x",
    "REDIS_URL": "redis://:hidden-2@localhost",
    "FLASKY_METRICS_TOKEN": "hidden-token-of-the-metrics",
    "MAIL_PASSWORD": "hidden-3",
    "MAIL_OAUTH_CLIENT_SECRET": "hidden-4",
    "MAIL_OAUTH_REFRESH_TOKEN": "hidden-5",
    "MAIL_DKIM_KEYS": DKIM,
}
BROKEN_SECRETS = {
    "SECRET_KEY": "hidden",
    "DATABASE_URL": "mysql://me:hidden-1@x/y",
    "REDIS_URL": "http://:hidden-2@x",
    "FLASKY_BASE_URL": "https://me:hidden-7@x:port",
    "FLASKY_METRICS_TOKEN": "hidden",
    "MAIL_PASSWORD": "hidden-ß",
    "MAIL_PORT": "x",
}


def test_no_secret_is_in_the_repr() -> None:
    settings = read(**SECRETS | TLS | {"MAIL_USERNAME": "me"})
    assert "hidden" not in repr(settings) + str(settings)
    assert {one.name.upper() for one in fields(Settings) if not one.repr} == set(SECRETS)


def test_no_secret_is_in_a_message() -> None:
    found = problems(**SECRETS | BROKEN_SECRETS)
    assert {one.split()[0] for one in found} == {*BROKEN_SECRETS} - {"MAIL_PASSWORD"} | {"MAIL_USERNAME"}
    assert "hidden" not in "".join(found)


def test_no_secret_is_in_a_traceback() -> None:
    done = start("-m flask routes", BROKEN_SECRETS)
    said, _ = done.communicate(timeout=30)
    assert done.returncode == 1
    assert "hidden" not in said
