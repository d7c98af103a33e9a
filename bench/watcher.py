"""A browser that watches the operator's desk: loads a page, and then asks for its news as the page's own script does."""

from __future__ import annotations

import html
import re
import threading
import time
from http.client import HTTPConnection
from urllib.parse import urlsplit

OK = 200
# As in the page's script: the pause is so many times as long as the answer took, and at least so many seconds.
PAUSE, LEAST = 20, 3.0


class Watcher:
    """Somebody signed in with *cookie* at the site *url*."""

    def __init__(self, url: str, cookie: str) -> None:
        self._connection = HTTPConnection(urlsplit(url).netloc, timeout=60)
        self._cookie = cookie
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def get(self, path: str) -> tuple[float, str]:
        """Return how many milliseconds the answer took, and the page."""
        self._connection.close()  # gunicorn hangs up on who has been quiet for two seconds
        begun = time.perf_counter()
        self._connection.request("GET", path, headers={"Cookie": self._cookie})
        answer = self._connection.getresponse()
        page = answer.read().decode()
        took = (time.perf_counter() - begun) * 1000
        if answer.status != OK:
            message = f"{path}: {answer.status}: {page[:500]!r}"
            raise RuntimeError(message)
        return took, page

    def watch(self, path: str) -> None:
        """Watch the page at *path* until ``stop``."""
        self._thread = threading.Thread(target=self._watch, args=(path,))
        self._thread.start()

    def stop(self) -> None:
        """Close the page."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self, path: str) -> None:
        took, page = self.get(path)
        found = re.search(r'data-refresh="([^"]+)"', page)
        news = html.unescape(found[1]) if found else path
        while not self._stopping.wait(max(LEAST, PAUSE * took / 1000)):
            took, _ = self.get(news)
