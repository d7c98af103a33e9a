"""Messages become rows, one for each recipient; a key makes that idempotent."""

from __future__ import annotations

import sqlite3
import threading
import traceback
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_outbox import BULK, NORMAL, URGENT, Email, InvalidMessage, Message, enqueue, send_email
from flasky.extensions import db
from flasky.models import User
from tests.outbox.standing import database_url, emptied, standing_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask

SOON = datetime.now(UTC) + timedelta(hours=1)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def standing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    with standing_app(database_url(request, tmp_path_factory.mktemp("enqueue"))) as app:
        yield app


@pytest.fixture
def app(standing: Flask) -> Iterator[Flask]:
    with emptied(standing):
        yield standing


def message(*recipients: Any, **values: Any) -> Message:
    return Message("Hi", list(recipients or ["a@b.example"]), "text", **values)


def rows() -> list[Email]:
    return list(db.session.scalars(sa.select(Email).order_by(Email.id)).unique())


def test_each_recipient_is_a_row_of_one_message(app: Flask) -> None:
    emails = enqueue(message("a@b.example", ("C", "c@b.example"), "a@b.example", cc=["d@b.example"], bcc=["e@b.example"]))
    assert [one.recipient for one in emails] == ["a@b.example", "c@b.example", "d@b.example", "e@b.example"]
    assert emails == rows()
    assert len({one.content_id for one in emails}) == 1
    assert {(one.status, one.priority, one.key, one.expires_at) for one in emails} == {("queued", NORMAL, None, None)}
    content = emails[0].content
    assert (content.subject, content.sender, content.secret) == ("Hi", "flasky@example.com", False)
    assert content.size == len(content.source)
    assert f"Message-ID: {emails[0].message_id}\r\n".encode() in content.source


def test_a_thousand_recipients_are_a_thousand_rows(app: Flask) -> None:
    emails = enqueue(message(*(f"number{number}@b.example" for number in range(1000))))
    assert len(emails) == len({one.id for one in emails}) == 1000
    assert db.session.scalar(sa.text("SELECT count(*) FROM mail_content")) == 1


def test_when_and_how_urgently_is_kept(app: Flask) -> None:
    (email,) = enqueue(
        message(),
        send_at=datetime(2030, 1, 1, 12, tzinfo=timezone(timedelta(hours=2))),
        expires_at=SOON,
        priority=URGENT,
        secret=True,
    )
    db.session.expire_all()
    assert email.send_at == datetime(2030, 1, 1, 10, tzinfo=UTC)
    assert email.expires_at == SOON
    assert email.priority == URGENT < NORMAL < BULK
    assert email.content.secret


@pytest.mark.parametrize(
    ("values", "culprit"),
    [
        ({"send_at": datetime(2030, 1, 1)}, "send_at"),  # noqa: DTZ001
        ({"expires_at": datetime(2030, 1, 1)}, "expires_at"),  # noqa: DTZ001
        ({"send_at": "2030-01-01"}, "send_at"),
        ({"expires_at": 1_900_000_000}, "expires_at"),
        ({"send_at": datetime.max.replace(tzinfo=timezone(timedelta(hours=-5)))}, "send_at"),
        ({"priority": "high"}, "priority"),
        ({"priority": 40_000}, "priority"),
        ({"priority": None}, "priority"),
        ({"key": ""}, "key"),
        ({"key": "a\nb"}, "key"),
        ({"key": "a\0b"}, "key"),
        ({"key": "\ud800"}, "key"),
        ({"key": "x" * 201}, "key"),
        ({"key": 5}, "key"),
        ({"key": b"k"}, "key"),
    ],
)
def test_unusable_arguments_are_refused_and_nothing_is_stored(app: Flask, values: dict[str, Any], culprit: str) -> None:
    with pytest.raises(InvalidMessage, match=culprit):
        enqueue(message(), **values)
    db.session.commit()
    assert rows() == []


def test_an_unusable_message_is_refused_and_the_callers_transaction_goes_on(app: Flask) -> None:
    db.session.add(User(username="susan"))
    with pytest.raises(InvalidMessage):
        enqueue(message("nobody"))
    with pytest.raises(InvalidMessage):
        send_email("a@b.example", "Hi\r\nBcc: eve@evil.example", "mail/new_user", user=User(username="x"))
    db.session.commit()
    assert db.session.scalars(sa.select(User.username)).all() == ["susan"]
    assert db.session.scalar(sa.text("SELECT count(*) FROM mail_content")) == 0


def test_every_try_sends_the_same_bytes(app: Flask) -> None:
    one = message()
    first, second = enqueue(one, key="one")[0], enqueue(one, key="two")[0]
    assert first.message_id != second.message_id
    source = first.content.source
    db.session.expire_all()
    assert first.content.source == source


@pytest.mark.parametrize("joins", [False, True])
def test_the_same_key_returns_the_email_that_is_there(app: Flask, *, joins: bool) -> None:
    (first,) = enqueue(message(), key="k")
    if joins:
        db.session.add(User(username="susan"))
    (second,) = enqueue(message(), key="k")
    (other,) = enqueue(message(), key="another")
    assert second is first
    assert other is not first
    db.session.commit()
    assert len(rows()) == 2


def test_the_same_key_twice_in_one_transaction_is_one_email(app: Flask) -> None:
    db.session.add(User(username="susan"))
    assert enqueue(message(), key="k") == enqueue(message(), key="k")
    db.session.commit()
    assert len(rows()) == 1


def test_with_a_key_only_the_recipients_that_are_missing_are_added(app: Flask) -> None:
    (first,) = enqueue(message("a@b.example"), key="k")
    emails = enqueue(message("c@b.example", "a@b.example", "d@b.example"), key="k")
    assert [one.recipient for one in emails] == ["c@b.example", "a@b.example", "d@b.example"]
    assert emails[1] is first
    assert len(rows()) == 3


def test_a_key_that_was_rolled_back_is_free_again(app: Flask) -> None:
    db.session.add(User(username="susan"))
    enqueue(message(), key="k")
    db.session.rollback()
    enqueue(message(), key="k")
    assert len(rows()) == 1


def test_what_is_wrong_with_the_callers_own_rows_is_said_as_it_is(app: Flask) -> None:
    db.session.add(User(username="susan"))
    db.session.commit()
    db.session.add(User(username="susan"))
    with pytest.raises(sa.exc.IntegrityError, match="users"):
        enqueue(message(), key="k")
    db.session.rollback()
    assert rows() == []


def race(app: Flask, count: int, work: Callable[[int], Any]) -> list[Any]:
    """Run *work* in *count* threads that start together, each with a session of its own."""
    barrier, results = threading.Barrier(count), [None] * count

    def run(number: int) -> None:
        with app.app_context():
            barrier.wait(10)
            try:
                results[number] = work(number)
            except Exception as error:  # noqa: BLE001 - the test looks at it
                results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


@pytest.mark.parametrize("joins", [False, True])
def test_a_race_for_one_key_has_one_winner_and_no_error(app: Flask, *, joins: bool) -> None:
    def work(number: int) -> set[int]:
        ids = set()
        for turn in range(5):
            if joins:
                db.session.add(User(username=f"{number}-{turn}"))
            emails = enqueue(message("a@b.example", "c@b.example"), key=f"k{turn}")
            db.session.commit()
            ids |= {one.id for one in emails}
        return ids

    results = race(app, 6, work)
    assert all(one == results[0] for one in results), results
    assert len(rows()) == 10
    assert db.session.scalar(sa.select(sa.func.count()).select_from(User)) == (30 if joins else 0)


def test_an_error_leaves_no_cursor_open_for_the_garbage_collector(app: Flask) -> None:
    """Collected by the thread that holds SQLite's lock, an open cursor would wait for a connection that waits for that lock."""
    if db.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL's driver resets no cursor when it is collected")
    with db.engine.connect() as connection:
        connection.execute(sa.text("CREATE TRIGGER refuses BEFORE INSERT ON mail_email BEGIN SELECT RAISE(ABORT, 'no'); END"))
    with pytest.raises(sa.exc.IntegrityError) as failed:
        enqueue(message())
    with db.engine.connect() as connection:
        connection.execute(sa.text("DROP TRIGGER refuses"))
    error = failed.value.orig
    assert isinstance(error, sqlite3.IntegrityError)
    frames = [frame for frame, _ in traceback.walk_tb(failed.tb)] + [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    cursors = {value for frame in frames for value in frame.f_locals.values() if isinstance(value, sqlite3.Cursor)}
    assert cursors
    for cursor in cursors:
        with pytest.raises(sqlite3.ProgrammingError, match="closed cursor"):
            cursor.fetchone()


def test_a_race_in_which_one_wants_more_recipients_serves_all(app: Flask) -> None:
    def work(number: int) -> set[str]:
        people = [f"{letter}@b.example" for letter in "abcdef"[: number + 1]]
        for turn in range(5):
            emails = enqueue(message(*people), key=f"k{turn}")
            assert [one.recipient for one in emails] == people
        return set(people)

    results = race(app, 6, work)
    assert [len(one) for one in results] == [1, 2, 3, 4, 5, 6], results
    assert len(rows()) == 30
