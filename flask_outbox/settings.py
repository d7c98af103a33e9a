"""Read ``MAIL_*`` from ``app.config`` into one typed object; the only module that reads ``app.config``.

Flask-Mail's names and defaults stay as they are. Every value is checked when ``init_app`` runs, whether it comes as the type
or as the text that an environment variable holds, and all problems are reported at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any, get_type_hints

from .problems import PREFIX, find_problems

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TRUE, FALSE = {"true", "1", "yes", "on"}, {"false", "0", "no", "off", ""}
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class ConfigurationError(Exception):
    """The app cannot start with these settings; the message lists every problem.

    Raised by ``Mail.init_app``. ``problems`` holds one sentence for each.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("The mail settings are wrong:\n" + "\n".join(f"  - {problem}" for problem in problems))


def setting(default: Any, meaning: str, *, secret: bool = False) -> Any:
    """Return a dataclass field with its meaning; a secret one stays out of the repr."""
    return field(default=default, repr=not secret, metadata={"meaning": meaning, "secret": secret})


@dataclass(frozen=True, kw_only=True)
class MailSettings:
    """One field for each setting; the key in ``app.config`` is its name in capitals behind ``MAIL_``."""

    server: str = setting("localhost", "Host name of the SMTP server.")
    port: int = setting(25, "Its port: 587 with MAIL_USE_TLS, 465 with MAIL_USE_SSL.")
    use_tls: bool = setting(False, "Encrypt with STARTTLS and verify the certificate. Without STARTTLS nothing is sent.")
    use_ssl: bool = setting(False, "Encrypt from the first byte and verify the certificate.")
    username: str | None = setting(None, "User name, if the server wants a login.")
    password: str | None = setting(None, "Password for the login.", secret=True)
    default_sender: Any = setting(None, "Sender of a message that names none: an address, or a pair of name and address.")
    max_emails: int | None = setting(None, "Emails sent over one connection before a new one is opened. Empty: no limit.")
    suppress_send: bool = setting(False, "Transmit nothing, and record each email as sent. Default with TESTING: true.")
    debug: bool = setting(False, "Log the SMTP conversation, without passwords and message bodies.")

    tls_ca: str = setting("", "PEM file of a private certificate authority, trusted beside the system's.")
    timeout: float = setting(30.0, "Longest wait for one reply of the SMTP server, in seconds.")
    connections: int = setting(4, "Most connections that one worker opens; a single one if neither server nor database is slow.")
    ehlo_name: str = setting(
        "",
        "Name to introduce ourselves with (EHLO). Empty: the host of MAIL_BASE_URL, else this host's name, whichever has a domain, "
        "else the connection's own address.",
    )
    auth: str = setting("password", "How to log in: `password`, or `xoauth2` for Gmail and Microsoft 365.")
    oauth_client_id: str = setting("", "Client id for `xoauth2`.")
    oauth_client_secret: str = setting("", "Client secret for `xoauth2`, if the provider issued one.", secret=True)
    oauth_refresh_token: str = setting("", "Refresh token for `xoauth2`.", secret=True)
    oauth_token_url: str = setting("google", "Token endpoint for `xoauth2`: `google`, `microsoft`, or an https URL.")

    delivery: str = setting(
        "thread",
        "Who delivers: `thread` (a background thread of this process), `rq` (an RQ worker), `inline` (the caller, before it goes "
        "on), or `manual` (`flask mail deliver`, or your own task). Default with TESTING: `manual`.",
    )
    redis_url: str = setting(
        "",
        "Redis for `rq`, and for a MAIL_RATE that all workers share: `redis://`, `rediss://`, `unix://`, or Sentinel as "
        "`redis+sentinel://host:26379,host2:26379/service`.",
        secret=True,
    )
    redis_prefix: str = setting("", "Put before the name of the RQ queue, `mail`, and before every key of the library in Redis.")
    redis_tls_verify: bool = setting(True, "Verify the certificate of a `rediss://` server. Heroku's is self-signed.")
    base_url: str = setting("", "Absolute URL of the site; links that `url_for` makes in a mail begin with it.")
    template_sender: Any = setting(None, "Sender of each mail that is made from a template. Empty: MAIL_DEFAULT_SENDER.")
    dkim_keys: tuple[str, ...] = setting(
        (),
        "Keys that sign mail with DKIM: `SELECTOR:DOMAIN:KEY`, where KEY is the path of a PEM file, or its base64 on one line. "
        "Several have commas between them. `flask mail dkim-key` makes one.",
        secret=True,
    )
    subject_prefix: str = setting("", "Put before the subject of each mail that is made from a template.")
    inline_css: bool = setting(
        False, "Move the CSS of `<style>` into `style` attributes in each mail that is made from a template. Needs css-inline."
    )
    template_folder: str = setting("mail", "Folder of the mail templates, for previews and `flask mail lint`.")
    retry_for: timedelta = setting(timedelta(days=3), "How long a deferred email is retried, such as `3 days` or `12h`.")
    rate: str = setting("", "Most emails per time over all workers, such as `14 per second`. Empty: no limit.")
    allow_to: tuple[str, ...] = setting((), "Staging: addresses and domains that may get mail. Empty: everybody.")
    redirect_to: str = setting("", "Staging: the address that gets all other mail. Empty: the mail is held.")

    @classmethod
    def from_config(cls, config: Mapping[str, Any], *, testing: bool = False) -> MailSettings:
        """Read *config*, or raise ConfigurationError with every problem in it.

        With *testing*, nothing is transmitted and no thread starts, unless the settings say otherwise.
        """
        values: dict[str, Any] = {"suppress_send": True, "delivery": "manual"} if testing else {}
        problems: list[str] = []
        for name, kind in get_type_hints(cls).items():
            given = config.get(PREFIX + name.upper())
            if given is None or (given == "" and name not in {"suppress_send", "use_tls", "use_ssl", "debug"}):
                continue
            try:
                values[name] = _parse(kind, given)
            except (TypeError, ValueError, OverflowError):
                problems.append(f"{PREFIX}{name.upper()} is {_shown(name, given)}: it has to be {EXPECTED[kind]}")
        settings = cls(**values)
        problems += find_problems(settings)
        if problems:
            raise ConfigurationError(problems)
        return settings


def _shown(name: str, given: Any) -> str:
    secret = next(known for known in fields(MailSettings) if known.name == name).metadata["secret"]
    return "no text" if secret else f"{given!r:.100}"


def _parse(kind: Any, given: Any) -> Any:
    """Return *given* as *kind*; raise TypeError or ValueError if it cannot be read as that."""
    return PARSERS[kind](given.strip() if isinstance(given, str) and kind not in TEXTS else given)


def _boolean(given: Any) -> bool:
    text = str(given).lower()
    if text not in TRUE | FALSE:
        raise ValueError
    return text in TRUE


def _text(given: Any) -> str:
    if not isinstance(given, str):
        raise TypeError
    return given


def _whole(given: Any) -> int:
    number = int(given)
    if number != float(given):
        raise ValueError
    return number


def _names(given: Any) -> tuple[str, ...]:
    names = given.split(",") if isinstance(given, str) else list(given)
    if not all(isinstance(name, str) for name in names):
        raise TypeError
    return tuple(name.strip() for name in names if name.strip())


def duration(given: Any) -> timedelta:
    """Return *given*, such as ``3 days`` or ``12h``, as a timedelta; raise ValueError if it is no duration."""
    if isinstance(given, timedelta):
        return given
    found = re.fullmatch(r"(\d{1,5})\s*(s|m|h|d|second|minute|hour|day)s?", given)
    if found is None:
        raise ValueError
    return timedelta(**{UNITS[found[2][0]]: int(found[1])})


# A password may begin with a blank.
TEXTS = (str, str | None)
PARSERS: dict[Any, Callable[[Any], Any]] = {
    str: _text,
    str | None: _text,
    Any: lambda given: given,
    bool: _boolean,
    int: _whole,
    int | None: lambda given: _whole(given) or None,
    float: float,
    tuple[str, ...]: _names,
    timedelta: duration,
}
EXPECTED: dict[Any, str] = {
    str: "text",
    str | None: "text",
    bool: "true or false",
    int: "a whole number",
    int | None: "a whole number",
    float: "a number",
    tuple[str, ...]: "a list of texts, or one text with commas between them",
    timedelta: "a time such as 3 days, 12 hours or 30m",
}
