"""Opens a client for the Redis that MAIL_REDIS_URL names: over TCP, TLS or a Unix socket, or through Sentinel."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from redis.sentinel import Sentinel

SENTINEL_PORT = 26379
# Longest wait for one Sentinel, in seconds, before the next one is asked.
SENTINEL_TIMEOUT = 1.0
# Longest wait for the answer to a ping, in seconds: somebody looks at a page meanwhile.
PING_TIMEOUT = 0.25


class Unreachable(Exception):  # noqa: N818 - an answer for the operator
    """Redis cannot be used; the message says why, without the password."""


def read_version(redis: Redis) -> str:
    """Return the version of the server; raise Unreachable if it cannot be used."""
    try:
        redis.ping()
        return str(redis.info("server")["redis_version"])
    except RedisError as error:
        raise Unreachable(str(error)) from error


def connect(url: str, *, verify: bool = True, timeout: float | None = None) -> Redis:
    """Return a client for *url*; it connects with its first command.

    Without *verify* the certificate of a TLS server is not checked. With a *timeout* in seconds, a command fails after that time
    instead of retrying.
    """
    options: dict[str, Any] = {}
    if url.startswith("rediss") and not verify:
        options["ssl_cert_reqs"] = "none"
    if timeout is not None:
        options |= {"socket_connect_timeout": timeout, "socket_timeout": timeout, "retry": Retry(NoBackoff(), 0)}
    return _through_sentinel(url, options) if "+sentinel://" in url else Redis.from_url(url, **options)


def ping(client: Redis) -> str | None:
    """Return what is wrong with the Redis of *client*, or None if it answers."""
    try:
        client.ping()
    except RedisError as error:
        return str(error).strip().partition("\n")[0] or type(error).__name__
    return None


def _through_sentinel(url: str, options: dict[str, Any]) -> Redis:
    """Return a client that asks Sentinel for the current master whenever it connects."""
    parts = urlsplit(url)
    account, _, hosts = parts.netloc.rpartition("@")
    username, _, password = account.partition(":")
    service, _, number = parts.path.strip("/").partition("/")
    if url.startswith("rediss"):
        options["ssl"] = True
    for name, value in (("username", username), ("password", password)):
        if value:
            options[name] = unquote(value)
    own: dict[str, Any] = dict.fromkeys(("socket_connect_timeout", "socket_timeout"), SENTINEL_TIMEOUT)
    # The Sentinels may have a password of their own.
    if secret := parse_qs(parts.query).get("sentinel_password"):
        own["password"] = secret[0]
    sentinel: Any = Sentinel([_address(host) for host in hosts.split(",")], sentinel_kwargs=own)  # type: ignore[no-untyped-call] # redis-py's
    client: Redis = sentinel.master_for(service, db=int(number or 0), **options)
    return client


def _address(host: str) -> tuple[str, int]:
    name, _, port = host.partition(":")
    return name, int(port or SENTINEL_PORT)
