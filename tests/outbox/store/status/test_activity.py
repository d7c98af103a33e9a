"""What was sent, put off and refused is counted without an index on times, a part at a time, and each attempt once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_outbox import Attempt, Email
from flask_outbox.store.status import activity
from flask_outbox.store.status.activity import STEP, ActivityReader, Period, Result
from flasky.extensions import db

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("quiet")


def ago(**span: float) -> datetime:
    return datetime.now(UTC) - timedelta(**span)


@pytest.fixture
def attempt(put: Callable[..., Email]) -> Callable[..., None]:
    """A function that records attempts, of one email, that began at the given times."""
    email_id = put().id

    def record(*times: datetime, outcome: str = "sent") -> None:
        row = {"email_id": email_id, "seconds": 0.1, "worker": "w", "outcome": outcome}
        with db.engine.begin() as connection:
            connection.execute(sa.insert(Attempt), [row | {"started_at": time} for time in times])

    return record


@pytest.fixture(params=["all at once", "one by one"])
def small(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Count in small parts, so that a few attempts are many."""
    if request.param == "one by one":
        monkeypatch.setattr(activity, "CHUNK", 1)
        monkeypatch.setattr(activity, "UNSETTLED", 1)


def sent(reader: ActivityReader) -> list[int]:
    found = reader.read()
    return [found.total(period)[Result.SENT] for period in Period]


@pytest.mark.usefixtures("small")
def test_attempts_are_counted_in_the_hour_the_day_and_the_week(attempt: Any) -> None:
    attempt(
        ago(days=30), ago(days=7, hours=7), ago(days=6), ago(days=2), ago(hours=20), ago(hours=3), ago(minutes=30), ago(seconds=1)
    )
    assert sent(ActivityReader(db.engine)) == [2, 4, 6]


@pytest.mark.parametrize(
    ("outcome", "result"),
    [
        ("sent", Result.SENT),
        ("refused", Result.REFUSED),
        ("deferred", Result.PUT_OFF),
        ("uncertain", Result.PUT_OFF),
        ("throttled", Result.PUT_OFF),
        ("unavailable", Result.PUT_OFF),
    ],
)
def test_an_outcome_is_told_in_three_words(attempt: Any, outcome: str, result: Result) -> None:
    attempt(ago(minutes=1), outcome=outcome)
    total = ActivityReader(db.engine).read().total(Period.HOUR)
    assert total == dict.fromkeys(Result, 0) | {result: 1}


@pytest.mark.usefixtures("small")
def test_what_is_new_is_added_and_nothing_is_counted_twice(attempt: Any) -> None:
    reader = ActivityReader(db.engine)
    assert sent(reader) == [0, 0, 0]
    for number in range(1, 6):
        attempt(ago(minutes=10))
        assert sent(reader) == [number] * 3
        assert sent(reader) == [number] * 3


def test_an_attempt_stands_in_its_step(attempt: Any) -> None:
    moment = ago(minutes=22)
    attempt(moment)
    found = ActivityReader(db.engine).read()
    for period in Period:
        steps = found.steps(period)
        (hit,) = [step for step in steps if step.counts[Result.SENT]]
        assert hit.start <= moment < hit.start + period.step
        assert {later.start - earlier.start for earlier, later in pairwise(steps)} == {period.step}
        assert steps[-1].start <= found.now < steps[-1].start + period.step


def test_the_latest_step_is_one_that_is_over(attempt: Any) -> None:
    found = ActivityReader(db.engine).read().latest()
    assert timedelta(0) <= datetime.now(UTC) - found.start - STEP < STEP


def test_without_time_some_steps_are_left_to_the_next_reads(attempt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "CHUNK", 2)
    monkeypatch.setattr(activity, "UNSETTLED", 1)
    attempt(*(ago(days=days) for days in (6, 5, 4, 3, 2, 1)), ago(seconds=1))
    reader = ActivityReader(db.engine)
    first = reader.read(seconds=0)
    assert first.total(Period.HOUR)[Result.SENT] == 1
    assert not first.steps(Period.WEEK)[0].is_counted
    reads = 1
    while not (found := reader.read(seconds=0)).steps(Period.WEEK)[0].is_counted:
        reads += 1
    assert reads == 2
    assert found.total(Period.WEEK)[Result.SENT] == 7
    assert all(step.is_counted for period in Period for step in found.steps(period))


@pytest.mark.usefixtures("small")
def test_attempts_are_found_although_ids_are_missing(attempt: Any) -> None:
    attempt(*(ago(days=20) for _ in range(30)), *(ago(hours=2) for _ in range(10)), *(ago(minutes=2) for _ in range(10)))
    with db.engine.begin() as connection:
        connection.execute(sa.delete(Attempt).where(Attempt.id % 3 != 0))
    assert sent(ActivityReader(db.engine)) == [3, 6, 6]


@pytest.mark.usefixtures("small")
def test_after_a_purge_the_figures_are_those_of_what_is_left(attempt: Any) -> None:
    reader = ActivityReader(db.engine)
    attempt(*(ago(days=2) for _ in range(5)), *(ago(minutes=2) for _ in range(4)))
    assert sent(reader) == [4, 4, 9]
    with db.engine.begin() as connection:
        connection.execute(sa.delete(Attempt).where(Attempt.id <= 5))
    assert sent(reader) == [4, 4, 4] or activity.UNSETTLED > 9
    with db.engine.begin() as connection:
        connection.execute(sa.delete(Attempt))
    assert sent(reader) == [0, 0, 0]
    attempt(ago(minutes=1))
    assert sent(reader) == [1, 1, 1]


@pytest.mark.usefixtures("small")
def test_an_attempt_that_took_minutes_is_not_lost_between_quick_ones(attempt: Any) -> None:
    # Recorded at its end: its id is large, and its start is before the week's.
    attempt(ago(days=7, minutes=5), ago(days=6), ago(days=6, minutes=9), ago(days=6))
    assert sent(ActivityReader(db.engine))[2] >= 3


def test_the_newest_id_tells_how_many_attempts_there_ever_were(attempt: Any) -> None:
    reader = ActivityReader(db.engine)
    assert reader.read().newest_id == 0
    attempt(ago(days=30), ago(days=1))
    with db.engine.begin() as connection:
        connection.execute(sa.delete(Attempt).where(Attempt.id == 1))
    assert reader.read().newest_id == 2
