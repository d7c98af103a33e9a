"""The refresh token is shared by all workers, exchanged by one at a time, and never lost or shown."""

from __future__ import annotations

import logging
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_outbox.errors import Unavailable
from flask_outbox.store.models import OAuthToken, oauth_tokens
from flask_outbox.store.refresh_token import StoredRefreshToken
from flask_outbox.store.status.health import read_health
from flasky.extensions import db

if TYPE_CHECKING:
    from flask import Flask

pytestmark = pytest.mark.usefixtures("quiet")
ACCOUNT = "me@example.com"


class Endpoint:
    """A token endpoint for which only the newest refresh token is valid, and an old one voids them all."""

    def __init__(self) -> None:
        self.count, self.is_void = 0, False

    def fetch(self, token: str) -> str:
        time.sleep(0.005)
        self.is_void = self.is_void or token != f"secret-{self.count}"
        if self.is_void:
            message = "invalid_grant"
            raise Unavailable(message, ours=True)
        self.count += 1
        return f"secret-{self.count}"


def worker(configured: str = "secret-0", seconds: float = 30.0) -> StoredRefreshToken:
    return StoredRefreshToken(db.engine, ACCOUNT, configured, seconds)


def stored() -> Any:
    with db.engine.connect() as connection:
        return connection.execute(sa.select(oauth_tokens)).one()


def test_workers_and_their_successors_use_the_newest_token_one_after_the_other(quiet: Flask) -> None:
    endpoint = Endpoint()

    def work() -> None:
        with quiet.app_context():
            for _ in range(2):
                one = worker()
                for _ in range(3):
                    one.exchange(endpoint.fetch)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (endpoint.count, endpoint.is_void) == (18, False)
    assert (stored().refresh_token, stored().lease) == ("secret-18", None)


def test_a_token_that_the_operator_has_replaced_wins() -> None:
    used: list[str] = []

    def fetch(token: str) -> str:
        used.append(token)
        return f"{token}+"

    worker("old").exchange(fetch)
    worker("old").exchange(fetch)
    worker("new").exchange(fetch)
    worker("new").exchange(fetch)
    assert used == ["old", "old+", "new", "new+"]


def test_a_token_that_stays_the_same_is_not_stored() -> None:
    worker().exchange(lambda token: token)
    assert (stored().refresh_token, stored().renewed_at) == (None, None)


def test_a_refusal_changes_nothing_and_lets_the_next_process_try() -> None:
    endpoint = Endpoint()
    worker().exchange(endpoint.fetch)

    def refuse(_: str) -> str:
        message = "the token endpoint answered 503"
        raise Unavailable(message)

    with pytest.raises(Unavailable):
        worker().exchange(refuse)
    worker().exchange(endpoint.fetch)
    assert stored().refresh_token == "secret-2"


def test_a_process_that_died_in_the_middle_is_waited_for_so_long_and_no_longer() -> None:
    dead = worker(seconds=0.3)
    dead._take_turn("its lease")
    begun = time.monotonic()
    worker().exchange(Endpoint().fetch)
    assert time.monotonic() - begun >= 0.25
    assert stored().refresh_token == "secret-1"


def test_a_token_that_cannot_be_stored_is_kept_and_stored_later(caplog: pytest.LogCaptureFixture) -> None:
    endpoint, one = Endpoint(), worker()

    def fetch_and_lose_the_table(token: str) -> str:
        new = endpoint.fetch(token)
        OAuthToken.__table__.drop(db.engine)  # type: ignore[attr-defined] # a Table
        return new

    one.exchange(fetch_and_lose_the_table)
    assert "kept in memory" in caplog.text
    db.create_all()
    one.exchange(endpoint.fetch)
    assert stored().refresh_token == "secret-2"
    assert "secret-" not in caplog.text


def test_without_its_table_no_old_token_is_used() -> None:
    OAuthToken.__table__.drop(db.engine)  # type: ignore[attr-defined] # as above
    with pytest.raises(Unavailable, match="the OAuth2 refresh token in the database cannot be read"):
        worker().exchange(Endpoint().fetch)


def test_the_token_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    endpoint = Endpoint()
    log = logging.getLogger("sqlalchemy.engine")
    level = log.level
    log.setLevel(logging.INFO)
    engine = sa.create_engine(db.engine.url, echo=True)
    try:
        one = StoredRefreshToken(engine, ACCOUNT, "secret-0", 30)
        one.exchange(endpoint.fetch)
        one.exchange(endpoint.fetch)
    finally:
        log.setLevel(level)
        engine.dispose()
    assert "secret-" not in caplog.text
    assert "secret-" not in repr(one)


def test_health_tells_the_day_on_which_the_token_expires() -> None:
    worker().exchange(Endpoint().fetch)
    day = (stored().renewed_at + timedelta(days=90)).date()
    remarks = read_health(db.engine, token=(ACCOUNT, timedelta(days=90))).remarks
    assert remarks == (f"the OAuth2 refresh token expires on {day}, unless a worker connects to the mail server before",)
    assert read_health(db.engine, token=("another@example.com", timedelta(days=90))).remarks == ()
