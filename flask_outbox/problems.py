"""Check the values of parsed settings: one sentence for each problem, without secrets."""

from __future__ import annotations

import re
from datetime import timedelta
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from .errors import InvalidMessage
from .message.address import parse
from .message.dkim.key import DkimKey, InvalidKey, read_key
from .message.dkim.signer import Signer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .settings import MailSettings

PREFIX = "MAIL_"
HIGHEST_PORT = 65535
# RFC 8314, 3.3 and 7.3: 465 is TLS from the first byte; 587, and 25 for relaying, begin in plain text and offer STARTTLS.
IMPLICIT_TLS_PORT, STARTTLS_PORTS = 465, {25, 587}
# A socket rejects an infinite timeout; nobody needs more than these.
LONGEST_TIMEOUT, MOST_CONNECTIONS = 3600.0, 100
# Subtracting a much longer time from now would overflow datetime.
LONGEST_RETRY = timedelta(days=365)
DELIVERIES = ("thread", "rq", "inline", "manual")
TOKEN_ENDPOINTS = ("google", "microsoft")
# RFC 5321, 4.1.3: a name in ASCII, or an address literal.
EHLO_NAME = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*|\[([0-9.]+|IPv6:[0-9a-f:.]+)\]", re.IGNORECASE | re.ASCII)
HOST = re.compile(r"[\w-]+(\.[\w-]+)*\.?")
# The form that limits and other packages use too.
SENTINEL = re.compile(r"rediss?\+sentinel://([^@/\s]*@)?[\w.-]+(:\d{1,5})?(,[\w.-]+(:\d{1,5})?)*/[\w.-]+(/\d{1,5})?(\?\S*)?")


def find_problems(settings: MailSettings) -> Iterator[str]:
    """Return one sentence for each problem."""
    yield from _server_problems(settings)
    yield from _ehlo_problems(settings)
    yield from _login_problems(settings)
    yield from _address_problems(settings)
    yield from _dkim_problems(settings)
    yield from _delivery_problems(settings)


def _server_problems(settings: MailSettings) -> Iterator[str]:
    if not _is_host(settings.server):
        yield f"MAIL_SERVER is {_shown(settings.server)}: give a host name such as smtp.example.com, without a scheme"
    if not 1 <= settings.port <= HIGHEST_PORT:
        yield f"MAIL_PORT is {settings.port}: a port is a number from 1 to {HIGHEST_PORT}"
    if not 0 < settings.timeout <= LONGEST_TIMEOUT:
        yield f"MAIL_TIMEOUT is {settings.timeout:g}: give seconds, more than 0 and at most {LONGEST_TIMEOUT:g}"
    if not 1 <= settings.connections <= MOST_CONNECTIONS:
        yield f"MAIL_CONNECTIONS is {settings.connections}: give a number from 1 to {MOST_CONNECTIONS}"
    if settings.max_emails is not None and settings.max_emails < 0:
        yield f"MAIL_MAX_EMAILS is {settings.max_emails}: it cannot be less than 0"
    if settings.tls_ca and not Path(settings.tls_ca).is_file():
        yield f"MAIL_TLS_CA is {settings.tls_ca!r}: there is no such file"
    yield from _encryption_problems(settings)


def _encryption_problems(settings: MailSettings) -> Iterator[str]:
    """Say that port and encryption do not match: the connection would only fail, on port 465 after MAIL_TIMEOUT."""
    port, mismatch = settings.port, "the port does not match the encryption"
    if settings.use_tls and settings.use_ssl:
        yield "MAIL_USE_TLS and MAIL_USE_SSL are both on: choose STARTTLS (port 587) or TLS from the first byte (port 465)"
    elif is_loopback(settings.server):
        # Any port of this machine may be the end of a tunnel.
        return
    elif port == IMPLICIT_TLS_PORT and not settings.use_ssl:
        yield f"MAIL_PORT is 465 without MAIL_USE_SSL, {mismatch}: set MAIL_USE_SSL, without MAIL_USE_TLS, or MAIL_PORT=587"
    elif port in STARTTLS_PORTS and settings.use_ssl:
        yield f"MAIL_PORT is {port} with MAIL_USE_SSL, {mismatch}: set MAIL_PORT=465, or MAIL_USE_TLS instead of MAIL_USE_SSL"


def _ehlo_problems(settings: MailSettings) -> Iterator[str]:
    if settings.ehlo_name and not EHLO_NAME.fullmatch(settings.ehlo_name):
        name = _shown(settings.ehlo_name)
        yield f"MAIL_EHLO_NAME is {name}: give a host name such as www.example.com, or an address as [192.0.2.1]"


def _login_problems(settings: MailSettings) -> Iterator[str]:
    if settings.auth not in {"password", "xoauth2"}:
        yield f"MAIL_AUTH is {settings.auth!r}: it has to be password or xoauth2"
    if settings.auth == "xoauth2":
        yield from _oauth_problems(settings)
    elif bool(settings.username) != bool(settings.password):
        yield "MAIL_USERNAME and MAIL_PASSWORD go together: one of them is missing"
    if settings.username and not (settings.use_tls or settings.use_ssl or is_loopback(settings.server)):
        yield "MAIL_USERNAME is set without MAIL_USE_TLS or MAIL_USE_SSL: the password would be sent unencrypted"
    if not f"{settings.username or ''}{settings.password or ''}".isascii():
        yield "MAIL_USERNAME and MAIL_PASSWORD have to be ASCII"


def _oauth_problems(settings: MailSettings) -> Iterator[str]:
    for name in ("username", "oauth_client_id", "oauth_refresh_token"):
        if not getattr(settings, name):
            yield f"{PREFIX}{name.upper()} is missing: MAIL_AUTH=xoauth2 needs it"
    url = _split_url(settings.oauth_token_url)
    private = url.scheme == "https" or (url.scheme == "http" and is_loopback(url.hostname or ""))
    if settings.oauth_token_url not in TOKEN_ENDPOINTS and not private:
        yield "MAIL_OAUTH_TOKEN_URL has to be google, microsoft or an https URL"


def _address_problems(settings: MailSettings) -> Iterator[str]:
    for name in ("default_sender", "template_sender", "redirect_to"):
        value = getattr(settings, name)
        if value:
            try:
                parse(value, PREFIX + name.upper())
            except InvalidMessage as error:
                yield str(error)
    for entry in settings.allow_to:
        if not re.fullmatch(r"([^@*\s<>,]+@|@)?[\w-]+(\.[\w-]+)*", entry):
            yield f"MAIL_ALLOW_TO holds {entry!r:.100}: give an address such as a@example.com, or a domain such as example.com"
    if not settings.subject_prefix.isprintable():
        yield "MAIL_SUBJECT_PREFIX holds a character that no header may hold: remove it"
    if settings.base_url:
        yield from _base_url_problems(settings.base_url)


def _base_url_problems(base_url: str) -> Iterator[str]:
    url = _split_url(base_url)
    if url.username or url.password:
        yield "MAIL_BASE_URL holds a user name or a password: every link in a mail would show it. Remove it"
    elif url.scheme not in {"http", "https"} or not _is_host(url.hostname) or url.query or url.fragment:
        yield f"MAIL_BASE_URL is {_shown(base_url)}: it has to look like https://www.example.com"


def _dkim_problems(settings: MailSettings) -> Iterator[str]:
    if not settings.dkim_keys:
        return
    if find_spec("cryptography") is None:
        yield "MAIL_DKIM_KEYS needs the package cryptography: install flask-outbox[dkim]"
        return
    keys: dict[str, DkimKey] = {}
    for number, entry in enumerate(settings.dkim_keys, 1):
        try:
            key = read_key(entry)
        except InvalidKey as error:
            yield f"MAIL_DKIM_KEYS, entry {number}: {error}"
            return
        if key.name in keys:
            yield f"MAIL_DKIM_KEYS holds two keys with the selector {key.selector} for {key.domain}: each needs its own"
        keys[key.name] = key
    yield from _unsigned_senders(settings, Signer(keys.values()))


def _unsigned_senders(settings: MailSettings, signer: Signer) -> Iterator[str]:
    """Say that no key fits a sender of the site: all of that mail would go out unsigned, and nobody would notice."""
    for name in ("default_sender", "template_sender"):
        try:
            domain = parse(getattr(settings, name), name).domain.lower()
        except InvalidMessage:
            # Not set, or a problem that is reported already.
            continue
        if not signer.keys_for(domain):
            yield f"{PREFIX}{name.upper()} is in {domain}, for which MAIL_DKIM_KEYS holds no key: add one, or change the sender"


def _delivery_problems(settings: MailSettings) -> Iterator[str]:
    if settings.delivery not in DELIVERIES:
        yield f"MAIL_DELIVERY is {settings.delivery!r:.100}: it has to be one of {', '.join(DELIVERIES)}"
    if settings.delivery == "rq" and not settings.redis_url:
        yield "MAIL_DELIVERY is rq, and MAIL_REDIS_URL is missing: give it, for example redis://localhost:6379/0"
    if settings.redis_url and not _is_redis(settings.redis_url):
        yield (
            "MAIL_REDIS_URL cannot be read: it has to look like redis://localhost:6379/0, unix:///run/redis.sock "
            "or redis+sentinel://host:26379,host2:26379/service"
        )
    if not re.fullmatch(r"[\w.:-]{0,50}", settings.redis_prefix):
        yield f"MAIL_REDIS_PREFIX is {settings.redis_prefix!r:.100}: give up to 50 letters, digits, and characters of _ . : -"
    if not timedelta(0) < settings.retry_for <= LONGEST_RETRY:
        yield f"MAIL_RETRY_FOR is {settings.retry_for}: give a time of more than 0 and at most {LONGEST_RETRY.days} days"
    if settings.rate:
        yield from _rate_problems(settings.rate)


def _rate_problems(rate: str) -> Iterator[str]:
    try:
        import limits  # noqa: PLC0415 - optional: only MAIL_RATE needs it
    except ImportError:
        yield "MAIL_RATE needs the package limits: install flask-outbox[rate]"
        return
    try:
        found = limits.parse_many(rate)
    except ValueError:
        found = []
    if len(found) != 1 or not found[0].amount:
        yield f"MAIL_RATE is {rate!r:.100}: it has to look like '14 per second'"


def _is_redis(url: str) -> bool:
    return SENTINEL.fullmatch(url) is not None or _split_url(url).scheme in {"redis", "rediss", "unix"}


def _shown(value: str) -> str:
    """Return *value* for an error message, unless it has an @: then it may be a URL with a password."""
    return "no host name" if "@" in value else f"{value!r:.100}"


def _is_host(name: str | None) -> bool:
    return name is not None and (HOST.fullmatch(name) is not None or _is_address(name))


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _split_url(url: str) -> SplitResult:
    """Return the parts of *url*; all are empty if it is no URL."""
    if re.search(r"\s", url):
        return urlsplit("")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return urlsplit("")
    return parts


def is_loopback(host: str) -> bool:
    """Return whether *host* is this machine."""
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)
