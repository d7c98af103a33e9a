"""XOAUTH2: an access token from a refresh token, kept until shortly before it ends.

Gmail and Microsoft 365 want this instead of a password. The format is Google's, "SASL XOAUTH2"; the request is
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

from ..errors import Unavailable

PRESETS = {
    "google": "https://oauth2.googleapis.com/token",
    "microsoft": "https://login.microsoftonline.com/common/oauth2/v2.0/token",
}
# A token is fetched again this long before it ends, in seconds: clocks differ, and a batch takes a while.
MARGIN = 120.0
# What RFC 6749, 5.1 leaves out of the answer, in seconds.
USUAL_LIFE = 3600.0
LARGEST_ANSWER = 1_000_000


@dataclass
class OAuth:
    """The credentials of one mailbox; *token_url* is ``google``, ``microsoft`` or an https URL."""

    username: str
    client_id: str
    client_secret: str = field(repr=False)
    refresh_token: str = field(repr=False)
    token_url: str = "google"  # noqa: S105 - the name of a preset
    timeout: float = 30.0
    _token: str = field(default="", init=False, repr=False)
    _until: float = field(default=0.0, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def sasl(self) -> str:
        """Return what XOAUTH2 sends, before base64; raise Unavailable where no token can be had."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._fetch()
            return f"user={self.username}\x01auth=Bearer {self._token}\x01\x01"

    def forget(self) -> None:
        """Throw the access token away: the server has refused it."""
        with self._lock:
            self._until = 0.0

    def _fetch(self) -> None:
        form = {
            "grant_type": "refresh_token",
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "refresh_token": self.refresh_token,
        }
        answer = self._post({name: value for name, value in form.items() if value})
        self._token = str(answer["access_token"])
        # Microsoft gives a new refresh token each time, and lets the old one go on for a while.
        self.refresh_token = str(answer.get("refresh_token") or self.refresh_token)
        self._until = time.monotonic() + max(float(str(answer.get("expires_in") or USUAL_LIFE)) - MARGIN, 1.0)

    def _post(self, form: dict[str, str]) -> dict[str, object]:
        url = PRESETS.get(self.token_url, self.token_url)
        request = urllib.request.Request(url, urllib.parse.urlencode(form).encode(), {"Accept": "application/json"})  # noqa: S310 - config.py lets only https through
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as response:  # noqa: S310
                answer = json.loads(response.read(LARGEST_ANSWER))
        except urllib.error.HTTPError as error:
            ours = 400 <= error.code <= 499 and error.code != 429  # noqa: PLR2004 - RFC 6749, 5.2
            raise Unavailable(f"the token endpoint answered {error.code}: {_said(error)}", ours=ours) from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise Unavailable(f"the token endpoint cannot be used: {error}") from error
        if not isinstance(answer, dict) or not answer.get("access_token"):
            raise Unavailable("the token endpoint's answer holds no access token")
        return answer


def _said(error: urllib.error.HTTPError) -> str:
    """Return the endpoint's error code and nothing else of its answer, which may repeat what we sent."""
    try:
        with error:
            said = json.loads(error.read(LARGEST_ANSWER)).get("error", "")
    except (OSError, ValueError, AttributeError):
        return "no reason given"
    return said if isinstance(said, str) and said.isascii() and said.isprintable() and len(said) < 100 else "no reason given"  # noqa: PLR2004
