"""Every MAIL_* setting: how it is read, what is wrong with it, and that no secret is shown."""

from __future__ import annotations

import math
from dataclasses import fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from flask_outbox import ConfigurationError
from flask_outbox.message.dkim.record import generate_key, private_line
from flask_outbox.settings import MailSettings

if TYPE_CHECKING:
    from pathlib import Path

DEFAULTS = {
    "server": "localhost",
    "port": 25,
    "use_tls": False,
    "use_ssl": False,
    "username": None,
    "password": None,
    "default_sender": None,
    "max_emails": None,
    "suppress_send": False,
    "debug": False,
    "tls_ca": "",
    "timeout": 30.0,
    "connections": 4,
    "ehlo_name": "",
    "auth": "password",
    "oauth_client_id": "",
    "oauth_client_secret": "",
    "oauth_refresh_token": "",
    "oauth_token_url": "google",
    "delivery": "thread",
    "redis_url": "",
    "redis_tls_verify": True,
    "redis_prefix": "",
    "base_url": "",
    "template_sender": None,
    "dkim_keys": (),
    "subject_prefix": "",
    "inline_css": False,
    "template_folder": "mail",
    "retry_for": timedelta(days=3),
    "rate": "",
    "allow_to": (),
    "redirect_to": "",
}
SECRET = "s3cr3t-7f1c"


def read(testing: bool = False, **config: Any) -> MailSettings:
    return MailSettings.from_config({f"MAIL_{name}": value for name, value in config.items()}, testing=testing)


def problems(**config: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        read(**config)
    for problem in raised.value.problems:
        assert problem in str(raised.value)
    return raised.value.problems


def test_the_defaults_are_flask_mail_s_and_safe() -> None:
    assert {one.name: getattr(read(), one.name) for one in fields(MailSettings)} == DEFAULTS


def test_with_testing_nothing_leaves_and_nothing_starts() -> None:
    settings = read(testing=True)
    assert (settings.suppress_send, settings.delivery) == (True, "manual")
    settings = read(testing=True, SUPPRESS_SEND=False, DELIVERY="inline")
    assert (settings.suppress_send, settings.delivery) == (False, "inline")


def test_every_field_says_what_it_means() -> None:
    for one in fields(MailSettings):
        assert one.metadata["meaning"].endswith(".")


def test_what_is_not_ours_is_left_alone() -> None:
    assert MailSettings.from_config({"MAIL_UNKNOWN": object(), "REDIS_URL": "redis://host", "SECRET_KEY": "x"}) == MailSettings()


@pytest.mark.parametrize("name", [one.name for one in fields(MailSettings)])
def test_a_setting_that_is_none_is_not_set(name: str) -> None:
    assert MailSettings.from_config({f"MAIL_{name.upper()}": None}) == MailSettings()


@pytest.mark.parametrize("name", [one.name for one in fields(MailSettings)])
def test_a_setting_that_is_empty_is_not_set(name: str) -> None:
    """An environment variable that is there and empty."""
    settings = MailSettings.from_config({f"MAIL_{name.upper()}": ""})
    assert settings == MailSettings()


READ = [
    ("SERVER", "smtp.example.com", "smtp.example.com"),
    ("SERVER", "::1", "::1"),
    ("PORT", "587", 587),
    ("PORT", " 587 ", 587),
    ("PORT", 587.0, 587),
    ("MAX_EMAILS", "0", None),
    ("MAX_EMAILS", "10", 10),
    ("EHLO_NAME", "www.example.com", "www.example.com"),
    ("EHLO_NAME", "[192.0.2.1]", "[192.0.2.1]"),
    ("EHLO_NAME", "[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"),
    ("TIMEOUT", "2.5", 2.5),
    ("TIMEOUT", 5, 5.0),
    ("CONNECTIONS", "1", 1),
    ("DEFAULT_SENDER", "Susan <susan@example.com>", "Susan <susan@example.com>"),
    ("DEFAULT_SENDER", ("Susan", "susan@example.com"), ("Susan", "susan@example.com")),
    ("RETRY_FOR", "3 days", timedelta(days=3)),
    ("RETRY_FOR", "1 day", timedelta(days=1)),
    ("RETRY_FOR", "12h", timedelta(hours=12)),
    ("RETRY_FOR", "90 minutes", timedelta(minutes=90)),
    ("RETRY_FOR", "45m", timedelta(minutes=45)),
    ("RETRY_FOR", "30 s", timedelta(seconds=30)),
    ("RETRY_FOR", timedelta(hours=1), timedelta(hours=1)),
    ("ALLOW_TO", "example.com, example.org", ("example.com", "example.org")),
    ("ALLOW_TO", " susan@example.com ,@example.org,", ("susan@example.com", "@example.org")),
    ("ALLOW_TO", ["example.com"], ("example.com",)),
    ("ALLOW_TO", {"example.com"}, ("example.com",)),
    ("REDIRECT_TO", "staging@example.com", "staging@example.com"),
    ("BASE_URL", "https://www.example.com/shop", "https://www.example.com/shop"),
    ("BASE_URL", "http://localhost:5000", "http://localhost:5000"),
    ("SUBJECT_PREFIX", "[Shop] ", "[Shop] "),
    ("RATE", "14 per second", "14 per second"),
    ("DELIVERY", "inline", "inline"),
    ("REDIS_URL", "unix:///run/redis.sock", "unix:///run/redis.sock"),
    ("REDIS_URL", "rediss://:pw@host:6379/0", "rediss://:pw@host:6379/0"),
    ("OAUTH_TOKEN_URL", "microsoft", "microsoft"),
]


@pytest.mark.parametrize(("name", "given", "meant"), READ)
def test_a_value_is_read_as_people_write_it(name: str, given: Any, meant: Any) -> None:
    value = getattr(read(**{name: given}), name.lower())
    assert value == meant
    assert type(value) is type(meant)


TRUE = [True, 1, "on", "True", "YES", "1", " on "]
FALSE = [False, 0, "off", "False", "no", "0", " off "]


@pytest.mark.parametrize("name", ["USE_TLS", "USE_SSL", "SUPPRESS_SEND", "DEBUG", "REDIS_TLS_VERIFY", "INLINE_CSS"])
@pytest.mark.parametrize(("given", "meant"), [*((one, True) for one in TRUE), *((one, False) for one in FALSE)])
def test_true_and_false_are_read_as_people_write_them(name: str, given: Any, meant: bool) -> None:
    assert getattr(read(**{name: given}), name.lower()) is meant


WRONG = [
    ("SERVER", "https://smtp.example.com", "MAIL_SERVER is 'https://smtp.example.com': give a host name such as smtp.example.com"),
    ("SERVER", "smtp example", "MAIL_SERVER is 'smtp example': give a host name"),
    ("SERVER", "smtp.example.com:587", "MAIL_SERVER is 'smtp.example.com:587': give a host name"),
    ("SERVER", 5, "MAIL_SERVER is 5: it has to be text"),
    ("PORT", "smtp", "MAIL_PORT is 'smtp': it has to be a whole number"),
    ("PORT", "587.5", "MAIL_PORT is '587.5': it has to be a whole number"),
    ("PORT", 25.5, "MAIL_PORT is 25.5: it has to be a whole number"),
    ("PORT", math.inf, "MAIL_PORT is inf: it has to be a whole number"),
    ("PORT", math.nan, "MAIL_PORT is nan: it has to be a whole number"),
    ("PORT", [25], "MAIL_PORT is [25]: it has to be a whole number"),
    ("PORT", 0, "MAIL_PORT is 0: a port is a number from 1 to 65535"),
    ("PORT", "65536", "MAIL_PORT is 65536: a port is a number from 1 to 65535"),
    ("USE_TLS", "perhaps", "MAIL_USE_TLS is 'perhaps': it has to be true or false"),
    ("USE_SSL", "2", "MAIL_USE_SSL is '2': it has to be true or false"),
    ("USE_SSL", 2, "MAIL_USE_SSL is 2: it has to be true or false"),
    ("USE_TLS", [], "MAIL_USE_TLS is []: it has to be true or false"),
    ("DEFAULT_SENDER", "nobody", "MAIL_DEFAULT_SENDER 'nobody' is not an email address"),
    ("DEFAULT_SENDER", "a@example.com\r\nBcc: b@example.com", "MAIL_DEFAULT_SENDER"),
    ("DEFAULT_SENDER", ("Susan",), "MAIL_DEFAULT_SENDER is ('Susan',): give one address as"),
    ("EHLO_NAME", "web_1.internal", "MAIL_EHLO_NAME is 'web_1.internal': give a host name such as www.example.com"),
    ("EHLO_NAME", "a b", "MAIL_EHLO_NAME is 'a b': give a host name"),
    ("EHLO_NAME", "x\r\nMAIL FROM:<a>", "MAIL_EHLO_NAME is"),
    ("EHLO_NAME", "192.0.2.1]", "MAIL_EHLO_NAME is"),
    ("MAX_EMAILS", -1, "MAIL_MAX_EMAILS is -1: it cannot be less than 0"),
    ("MAX_EMAILS", "many", "MAIL_MAX_EMAILS is 'many': it has to be a whole number"),
    ("TLS_CA", "/nowhere/ca.pem", "MAIL_TLS_CA is '/nowhere/ca.pem': there is no such file"),
    ("TIMEOUT", "soon", "MAIL_TIMEOUT is 'soon': it has to be a number"),
    ("TIMEOUT", 0, "MAIL_TIMEOUT is 0: give seconds, more than 0"),
    ("TIMEOUT", -1, "MAIL_TIMEOUT is -1: give seconds"),
    ("TIMEOUT", "inf", "MAIL_TIMEOUT is inf: give seconds"),
    ("TIMEOUT", "nan", "MAIL_TIMEOUT is nan: give seconds"),
    ("CONNECTIONS", 0, "MAIL_CONNECTIONS is 0: give a number from 1 to 100"),
    ("CONNECTIONS", 101, "MAIL_CONNECTIONS is 101: give a number from 1 to 100"),
    ("AUTH", "oauth", "MAIL_AUTH is 'oauth': it has to be password or xoauth2"),
    ("DELIVERY", "redis", "MAIL_DELIVERY is 'redis': it has to be one of thread, rq, inline, manual"),
    ("DELIVERY", "rq", "MAIL_DELIVERY is rq, and MAIL_REDIS_URL is missing"),
    ("REDIS_URL", "localhost:6379", "MAIL_REDIS_URL cannot be read: it has to look like redis://localhost:6379/0"),
    ("REDIS_URL", "redis://host:port/0", "MAIL_REDIS_URL cannot be read"),
    ("BASE_URL", "www.example.com", "MAIL_BASE_URL is 'www.example.com': it has to look like https://www.example.com"),
    ("BASE_URL", "https://*.example.com", "MAIL_BASE_URL is 'https://*.example.com': it has to look like"),
    ("BASE_URL", "https://exa mple.com", "MAIL_BASE_URL is 'https://exa mple.com': it has to look like"),
    ("BASE_URL", "https://example.com/?a=b", "MAIL_BASE_URL is 'https://example.com/?a=b': it has to look like"),
    ("BASE_URL", "https://example.com:port", "MAIL_BASE_URL is 'https://example.com:port': it has to look like"),
    ("SUBJECT_PREFIX", "[Shop]\n", "MAIL_SUBJECT_PREFIX holds a character that no header may hold: remove it"),
    ("RETRY_FOR", "soon", "MAIL_RETRY_FOR is 'soon': it has to be a time such as 3 days, 12 hours or 30m"),
    ("RETRY_FOR", "3", "MAIL_RETRY_FOR is '3': it has to be a time such as"),
    ("RETRY_FOR", 3, "MAIL_RETRY_FOR is 3: it has to be a time such as"),
    ("RETRY_FOR", "-3 days", "MAIL_RETRY_FOR is '-3 days': it has to be a time such as"),
    ("RETRY_FOR", "0 days", "MAIL_RETRY_FOR is 0:00:00: give a time"),
    ("RETRY_FOR", timedelta.max, "MAIL_RETRY_FOR is 999999999 days"),
    ("RATE", "fast", "MAIL_RATE is 'fast': it has to look like '14 per second'"),
    ("RATE", "0 per second", "MAIL_RATE is '0 per second': it has to look like"),
    ("RATE", "1 per second; 5 per minute", "MAIL_RATE is '1 per second; 5 per minute': it has to look like"),
    ("ALLOW_TO", "a b", "MAIL_ALLOW_TO holds 'a b': give an address such as a@example.com, or a domain"),
    ("ALLOW_TO", ["*@example.com"], "MAIL_ALLOW_TO holds '*@example.com'"),
    ("ALLOW_TO", 5, "MAIL_ALLOW_TO is 5: it has to be a list of texts, or one text with commas"),
    ("ALLOW_TO", [5], "MAIL_ALLOW_TO is [5]: it has to be a list of texts, or one text with commas"),
    ("REDIRECT_TO", "nobody", "MAIL_REDIRECT_TO 'nobody' is not an email address"),
]


@pytest.mark.parametrize(("name", "given", "told"), WRONG)
def test_a_wrong_value_is_told_in_one_sentence(name: str, given: Any, told: str) -> None:
    (problem,) = problems(**{name: given})
    assert problem.startswith(told)
    assert "\n" not in problem
    assert len(problem) < 300


@pytest.mark.parametrize(
    ("port", "tls", "told"),
    [
        (465, {"USE_TLS": True}, "MAIL_PORT is 465 without MAIL_USE_SSL"),
        (465, {}, "MAIL_PORT is 465 without MAIL_USE_SSL"),
        (587, {"USE_SSL": True}, "MAIL_PORT is 587 with MAIL_USE_SSL"),
        (25, {"USE_SSL": True}, "MAIL_PORT is 25 with MAIL_USE_SSL"),
        (465, {"USE_SSL": True}, ""),
        (587, {"USE_TLS": True}, ""),
        (587, {}, ""),
        (2465, {"USE_SSL": True}, ""),
        (2465, {"USE_TLS": True}, ""),
    ],
)
def test_a_port_that_does_not_match_the_encryption_is_told_at_once(port: int, tls: dict[str, bool], told: str) -> None:
    # Any port of this machine may be the end of a tunnel.
    assert read(SERVER="localhost", PORT=port, **tls)
    if not told:
        assert read(SERVER="smtp.example.com", PORT=port, **tls)
        return
    (problem,) = problems(SERVER="smtp.example.com", PORT=port, **tls)
    assert problem.startswith(told)
    assert "the port does not match the encryption: set MAIL_" in problem


def test_settings_that_do_not_go_together() -> None:
    assert problems(USE_TLS=True, USE_SSL=True)[0].startswith("MAIL_USE_TLS and MAIL_USE_SSL are both on: choose")
    assert problems(USERNAME="susan") == ["MAIL_USERNAME and MAIL_PASSWORD go together: one of them is missing"]
    assert problems(PASSWORD="x") == ["MAIL_USERNAME and MAIL_PASSWORD go together: one of them is missing"]
    assert problems(SERVER="smtp.example.com", USERNAME="susan", PASSWORD="x") == [
        "MAIL_USERNAME is set without MAIL_USE_TLS or MAIL_USE_SSL: the password would be sent unencrypted"
    ]
    assert problems(USERNAME="susan", PASSWORD="pässword") == ["MAIL_USERNAME and MAIL_PASSWORD have to be ASCII"]
    for server in ("localhost", "127.0.0.1", "::1"):
        assert read(SERVER=server, USERNAME="susan", PASSWORD="x").username == "susan"


def test_oauth_names_what_is_missing() -> None:
    assert problems(AUTH="xoauth2", USE_TLS=True) == [
        f"MAIL_{name} is missing: MAIL_AUTH=xoauth2 needs it" for name in ("USERNAME", "OAUTH_CLIENT_ID", "OAUTH_REFRESH_TOKEN")
    ]
    good = {"AUTH": "xoauth2", "USE_TLS": True, "USERNAME": "susan", "OAUTH_CLIENT_ID": "id", "OAUTH_REFRESH_TOKEN": "t"}
    assert read(**good).auth == "xoauth2"
    for url in ("http://example.com/token", "example", "https://exa mple.com", "ftp://example.com"):
        assert problems(**good, OAUTH_TOKEN_URL=url) == ["MAIL_OAUTH_TOKEN_URL has to be google, microsoft or an https URL"]
    for url in ("https://example.com/token", "http://127.0.0.1:5000/token"):
        assert read(**good, OAUTH_TOKEN_URL=url).oauth_token_url == url


def test_a_certificate_authority_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.touch()
    assert read(TLS_CA=str(file)).tls_ca == str(file)


KEYS = [
    f"{key.selector}:{key.domain}:{private_line(key)}"
    for key in (generate_key("mail", "example.com", "ed25519"), generate_key("ed", "mail.example.com", "ed25519"))
]


def test_keys_for_dkim_are_a_list_or_a_text_with_commas() -> None:
    assert read(DKIM_KEYS=KEYS).dkim_keys == read(DKIM_KEYS=" ,\n".join(KEYS)).dkim_keys == tuple(KEYS)


def test_a_key_for_dkim_that_cannot_sign_is_told_by_its_number() -> None:
    assert problems(DKIM_KEYS=[*KEYS, "mail:example.com:/gone"]) == [
        "MAIL_DKIM_KEYS, entry 3: the key mail of example.com names a file that does not exist"
    ]
    assert problems(DKIM_KEYS=[*KEYS, KEYS[0]]) == [
        "MAIL_DKIM_KEYS holds two keys with the selector mail for example.com: each needs its own"
    ]


@pytest.mark.parametrize("sender", ["me@example.com", ("Me", "me@Mail.Example.COM"), "Me <me@news.mail.example.com>", None])
def test_a_sender_for_whom_there_is_a_key_may_be_anywhere_in_its_domain(sender: Any) -> None:
    assert read(DKIM_KEYS=KEYS, DEFAULT_SENDER=sender, TEMPLATE_SENDER=sender)


def test_a_sender_whose_mail_no_key_would_sign_is_told() -> None:
    found = problems(DKIM_KEYS=KEYS, DEFAULT_SENDER="Me <me@example.org>", TEMPLATE_SENDER="me@notexample.com")
    assert found == [
        "MAIL_DEFAULT_SENDER is in example.org, for which MAIL_DKIM_KEYS holds no key: add one, or change the sender",
        "MAIL_TEMPLATE_SENDER is in notexample.com, for which MAIL_DKIM_KEYS holds no key: add one, or change the sender",
    ]
    assert problems(DKIM_KEYS=KEYS, DEFAULT_SENDER="nobody") == [
        problem for problem in problems(DEFAULT_SENDER="nobody") if "nobody" in problem
    ]


def test_keys_for_dkim_need_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_outbox.problems.find_spec", lambda _: None)
    assert problems(DKIM_KEYS=KEYS) == ["MAIL_DKIM_KEYS needs the package cryptography: install flask-outbox[dkim]"]


def test_all_problems_are_told_at_once() -> None:
    wrong = {"PORT": "x", "TIMEOUT": -1, "DELIVERY": "post", "BASE_URL": "x", "RETRY_FOR": 1, "ALLOW_TO": "a b", "AUTH": "x"}
    found = problems(**wrong)
    assert {problem.split()[0] for problem in found} == {f"MAIL_{name}" for name in wrong}


def test_a_password_is_taken_as_it_is() -> None:
    assert read(USERNAME="susan", PASSWORD=" x ").password == " x "


def test_no_secret_is_in_the_repr() -> None:
    secrets = {one.name for one in fields(MailSettings) if one.metadata["secret"]}
    assert secrets == {"password", "oauth_client_secret", "oauth_refresh_token", "redis_url", "dkim_keys"}
    settings = MailSettings(**dict.fromkeys(secrets, SECRET))
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings)


@pytest.mark.parametrize(
    "config",
    [
        {"PASSWORD": SECRET, "PORT": "x"},
        {"PASSWORD": SECRET.encode()},
        {"PASSWORD": [SECRET]},
        {"USERNAME": "susan", "PASSWORD": f"{SECRET}ä"},
        {"REDIS_URL": f"redis://:{SECRET}@host:port/0"},
        {"REDIS_URL": [f"redis://:{SECRET}@host"]},
        {"OAUTH_CLIENT_SECRET": {SECRET}},
        {"OAUTH_REFRESH_TOKEN": (SECRET,)},
        {"SERVER": f"smtp://susan:{SECRET}@smtp.example.com"},
        {"BASE_URL": f"https://susan:{SECRET}@www.example.com"},
        {"BASE_URL": f"https://susan:{SECRET}@www.example.com:port"},
        {"BASE_URL": f"susan:{SECRET}@www.example.com"},
        {"DKIM_KEYS": SECRET},
        {"DKIM_KEYS": f"{SECRET}:{SECRET}"},
        {"DKIM_KEYS": f"mail:example.com:{SECRET}"},
        {"DKIM_KEYS": f"mail:example.com:-----BEGIN PRIVATE KEY-----\n{SECRET}"},
        {"DKIM_KEYS": {SECRET: SECRET}},
        {"DKIM_KEYS": SECRET.encode()},
        {"DKIM_KEYS": [SECRET.encode()]},
        {"AUTH": "xoauth2", "USERNAME": "s", "OAUTH_TOKEN_URL": f"http://s:{SECRET}@example.com"},
    ],
)
def test_no_secret_is_in_a_message(config: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read(**config)
    assert SECRET not in str(raised.value)
    assert SECRET not in repr(raised.value)
    assert SECRET not in repr(raised.value.__cause__)
