"""The fixtures of the chaos tests: workers that die, and an outbox that must not care.

``CHAOS=long`` (make chaos) runs the long form.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from flask_outbox import Email, Message, enqueue
from flasky.extensions import db
from tests.servers import ROOT, Process, Site, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask

    from flask_outbox.testing import SmtpServer

LONG = os.environ.get("CHAOS") == "long"


class Stage:
    """An outbox, workers around it, and the count of what has arrived."""

    def __init__(self, app: Flask, site: Site, smtp: SmtpServer) -> None:
        self.app, self.site, self.smtp = app, site, smtp
        self.put_count = 0

    def put(self, count: int = 1) -> None:
        for _ in range(count):
            enqueue(Message("hi", [f"{self.put_count}@example.com"], "text", sender="a@example.com"))
            self.put_count += 1

    def worker(self, fault: str = "", lease: float = 3) -> Process:
        self.site.env |= {"FAULT": fault, "LEASE": str(lease)}
        return self.site.start("worker", "python", str(ROOT / "tests/chaos/faulty_worker.py"))

    def statuses(self) -> Counter[str]:
        with db.engine.connect() as connection:
            return Counter(connection.scalars(sa.select(Email.status)))

    def wait_until_sent(self, seconds: float = 30) -> None:
        wait_until(lambda: self.statuses() == {"sent": self.put_count}, seconds, f"all sent, but {self.statuses()}")

    def copies(self) -> Counter[str]:
        """Return how often each email has been accepted."""
        return Counter(one.recipient for one in self.smtp.accepted)

    def assert_nothing_lost(self) -> None:
        assert len(self.copies()) == self.put_count

    def assert_nothing_twice(self) -> None:
        assert {email: count for email, count in self.copies().items() if count > 1} == {}

    def assert_copies_are_alike(self) -> None:
        """Every copy of an email carries the same Message-ID, and is the same to the byte."""
        assert len({(one.recipient, one.source) for one in self.smtp.accepted}) == len(self.copies())


@pytest.fixture
def stage(
    make_app: Callable[..., Flask], site: Callable[..., Site], smtp: SmtpServer, database_url: str, own_redis: object
) -> Iterator[Stage]:
    """A stage over each database, with a Redis of its own."""
    url = own_redis.url  # type: ignore[attr-defined]
    app = make_app(database_url=database_url, redis_url=url, flasky_mail_dispatch="rq")
    own_site = site(DATABASE_URL=database_url, REDIS_URL=url, MAIL_SERVER="127.0.0.1", MAIL_PORT=smtp.port, MAIL_TIMEOUT=5)
    with app.app_context():
        yield Stage(app, own_site, smtp)
