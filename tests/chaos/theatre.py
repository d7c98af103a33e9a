"""A stage before an audience: the site's web processes, and people who type names while things go wrong."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import requests
import sqlalchemy as sa

from flasky.extensions import db
from flasky.models import User
from tests.chaos.conftest import Stage
from tests.servers import Visitor, wait_until

if TYPE_CHECKING:
    import pytest
    from flask import Flask

    from flask_outbox.testing import SmtpServer
    from tests.servers import Process, Site


class Visitors:
    """People who type names, each over and over until ``stop``; ``answers`` are pairs of a status and the seconds it took."""

    def __init__(self, url: str, count: int, pause: float) -> None:
        self.answers: list[tuple[int, float]] = []
        self.welcomed: list[str] = []
        self._url, self._pause, self._stopping = url, pause, threading.Event()
        self._numbers = itertools.count()
        self._threads = [threading.Thread(target=self._visit, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _visit(self) -> None:
        visitor = Visitor(self._url)
        while not self._stopping.is_set():
            name, begun = f"visitor {next(self._numbers)}", time.monotonic()
            try:
                status = visitor.type_name(name).status_code
            except requests.HTTPError as error:
                status = error.response.status_code
            except requests.RequestException:
                status = 0
            self.answers.append((status, time.monotonic() - begun))
            if status == 200:
                self.welcomed.append(name)
            self._stopping.wait(self._pause)
        visitor.close()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    @property
    def statuses(self) -> Counter[int]:
        return Counter(status for status, _ in self.answers)

    @property
    def longest(self) -> float:
        return max(seconds for _, seconds in self.answers)


class Theatre(Stage):
    """A stage with the site's web processes, where what the visitors' names set off is counted, too."""

    def __init__(self, app: Flask, site: Site, smtp: SmtpServer) -> None:
        super().__init__(app, site, smtp)
        self._visitors: list[Visitors] = []

    def begin(self, count: int, *, sent: int) -> list[Process]:
        """Start the site, and two workers on *count* emails; return the workers once *sent* emails have gone out."""
        self.site.web()
        self.put(count)
        workers = [self.worker(lease=60), self.worker(lease=60)]
        self.smtp.wait_for(sent)
        return workers

    def visitors(self, count: int, pause: float) -> Visitors:
        self._visitors.append(Visitors(self.site.url, count, pause))
        return self._visitors[-1]

    def close(self) -> None:
        for visitors in self._visitors:
            visitors.stop()

    def finish(self, visitors: Visitors, what: str, capsys: pytest.CaptureFixture[str]) -> int:
        """Wait until all is sent, print the figures, assert that nothing is lost, and return the number of copies."""
        visitors.stop()
        wait_until(lambda: set(self.statuses()) == {"sent"}, 120, "all sent")
        with db.engine.connect() as connection:
            names = set(connection.scalars(sa.select(User.username)))
        stored = self.put_count + len(names)
        keys = Counter((one.recipient, one.message["Message-ID"]) for one in self.smtp.accepted)
        lost, copies = stored - len(keys), len(self.smtp.accepted) - len(keys)
        answers = ", ".join(f"{count} times {status}" for status, count in sorted(visitors.statuses.items()))
        with capsys.disabled():
            print(f"\n{what}: {stored} emails, {lost} lost, {copies} copies; posts: {answers}; longest {visitors.longest:.1f} s")  # noqa: T201 - the figures
        assert lost == 0
        assert set(visitors.welcomed) <= names
        return copies
