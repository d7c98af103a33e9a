"""A visitor who posts the name form over and over, on one kept connection, and holds a watch."""

from __future__ import annotations

import re
import time
from http.client import HTTPConnection, HTTPResponse
from itertools import count
from urllib.parse import urlencode, urlsplit

# No name twice, in whichever site.
names = count()
FOUND = 302


class Visitor:
    """Somebody with a session at *url*, whose CSRF token serves for every post."""

    def __init__(self, url: str) -> None:
        self._connection = HTTPConnection(urlsplit(url).netloc, timeout=60)
        answer, page = self._get()
        found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
        cookie = answer.getheader("Set-Cookie")
        if not found or not cookie:
            raise RuntimeError(page)
        self._token = found[1]
        self._headers = {"Cookie": cookie.split(";")[0], "Content-Type": "application/x-www-form-urlencoded"}

    def _get(self) -> tuple[HTTPResponse, str]:
        self._connection.request("GET", "/")
        answer = self._connection.getresponse()
        return answer, answer.read().decode()

    def come_back(self) -> None:
        """Connect anew: gunicorn hangs up on who has been quiet for two seconds."""
        self._connection.close()
        self._get()

    def post(self) -> float:
        """Type a new name; return how many milliseconds the answer took."""
        body = urlencode({"name": f"Susan {next(names)}", "csrf_token": self._token})
        begun = time.perf_counter()
        self._connection.request("POST", "/", body, self._headers)
        answer = self._connection.getresponse()
        page = answer.read()
        took = time.perf_counter() - begun
        if answer.status != FOUND:
            message = f"{answer.status}: {page[:500]!r}"
            raise RuntimeError(message)
        return took * 1000
