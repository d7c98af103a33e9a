"""XOAUTH2: fetches an access token with a refresh token, and caches it until shortly before it expires.

Gmail and Microsoft 365 require XOAUTH2 instead of a password. The format is Google's "SASL XOAUTH2"; the request is
RFC 6749, section 6.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from ..errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

PRESETS = {
    "google": "https://oauth2.googleapis.com/token",
    "microsoft": "https://login.microsoftonline.com/common/oauth2/v2.0/token",
}
# How long before its expiry to replace a token, in seconds: clocks differ, and a batch takes a while.
RENEW_BEFORE = 120.0
# Lifetime of a token without expires_in, in seconds; the field is optional (RFC 6749, 5.1).
DEFAULT_LIFETIME = 3600.0
# Most bytes to read of a response.
LARGEST_RESPONSE = 1_000_000
# How long a refresh token of Microsoft's lasts without being used:
# learn.microsoft.com/entra/identity-platform/refresh-tokens, "Token lifetime".
MICROSOFT_HOST, MICROSOFT_LIFETIME = "login.microsoftonline.com", timedelta(days=90)


class RefreshToken(Protocol):
    """The refresh token, wherever it is kept."""

    def exchange(self, fetch: Callable[[str], str]) -> None:
        """Call *fetch* with the current refresh token, and keep the one that it returns."""


class OwnRefreshToken:
    """A refresh token in the memory of this process."""

    def __init__(self, token: str) -> None:
        self._token = token

    def exchange(self, fetch: Callable[[str], str]) -> None:
        """Call *fetch* with the current refresh token, and keep the one that it returns."""
        self._token = fetch(self._token)


@dataclass
class OAuth:
    """The credentials of one mailbox, and its current access token; threads may share it.

    *token_url* is ``google``, ``microsoft`` or an https URL; *timeout* is in seconds.
    """

    username: str
    client_id: str
    client_secret: str = field(repr=False)
    refresh_token: RefreshToken = field(repr=False)
    token_url: str = "google"  # noqa: S105 - the name of a preset
    timeout: float = 30.0
    _token: str = field(default="", init=False, repr=False)
    _until: float = field(default=0.0, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def sasl(self) -> str:
        """Return the XOAUTH2 response, before base64; raise Unavailable if no token can be fetched."""
        with self._lock:
            if time.monotonic() >= self._until:
                self.refresh_token.exchange(self._fetch)
            return f"user={self.username}\x01auth=Bearer {self._token}\x01\x01"

    def forget(self) -> None:
        """Discard the access token; called after the server has refused it."""
        with self._lock:
            self._until = 0.0

    @property
    def lifetime(self) -> timedelta | None:
        """Return how long a refresh token lasts without being used; None if it is unknown."""
        is_microsoft = urllib.parse.urlsplit(PRESETS.get(self.token_url, self.token_url)).hostname == MICROSOFT_HOST
        return MICROSOFT_LIFETIME if is_microsoft else None

    def _fetch(self, refresh_token: str) -> str:
        """Fetch an access token, and return the refresh token to use next."""
        form = {
            "grant_type": "refresh_token",
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "refresh_token": refresh_token,
        }
        answer = self._post({name: value for name, value in form.items() if value})
        self._token = str(answer["access_token"])
        self._until = time.monotonic() + max(_lifetime(answer) - RENEW_BEFORE, 1.0)
        return str(answer.get("refresh_token") or refresh_token)

    def _post(self, form: dict[str, str]) -> dict[str, object]:
        url = PRESETS.get(self.token_url, self.token_url)
        request = urllib.request.Request(url, urllib.parse.urlencode(form).encode(), {"Accept": "application/json"})  # noqa: S310 - the settings allow only https
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as response:  # noqa: S310 - as above
                answer = json.loads(response.read(LARGEST_RESPONSE))
        except urllib.error.HTTPError as error:
            ours = 400 <= error.code <= 499 and error.code != 429  # noqa: PLR2004 - RFC 6749, 5.2
            raise Unavailable(f"the token endpoint answered {error.code}: {_error_code(error)}", ours=ours) from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise Unavailable(f"the token endpoint cannot be used: {error}") from error
        if not isinstance(answer, dict) or not answer.get("access_token"):
            raise Unavailable("the token endpoint's response holds no access token")
        return answer


def _lifetime(answer: dict[str, object]) -> float:
    """Return how long the access token lasts, in seconds; some endpoints write the number as text."""
    try:
        return float(str(answer.get("expires_in") or DEFAULT_LIFETIME))
    except ValueError:
        # The answer holds a refresh token that must not get lost.
        return DEFAULT_LIFETIME


def _error_code(error: urllib.error.HTTPError) -> str:
    """Return only the endpoint's error code, because the rest of the response may repeat our secrets."""
    try:
        with error:
            code = json.loads(error.read(LARGEST_RESPONSE)).get("error", "")
    except (OSError, ValueError, AttributeError):
        return "no reason given"
    is_code = isinstance(code, str) and code.isascii() and code.isprintable() and len(code) < 100  # noqa: PLR2004 - longer than any code
    return code if is_code else "no reason given"
