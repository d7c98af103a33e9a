"""What was read is kept for sixty times as long as it took, and threads do not read it at the same time."""

from __future__ import annotations

import threading
import time

import pytest

from flask_outbox.store.status import kept
from flask_outbox.store.status.kept import Kept


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


class Reading:
    """A read that takes *seconds* of the clock, and counts itself."""

    def __init__(self, clock: Clock, seconds: float = 0.0) -> None:
        self.clock, self.seconds, self.count = clock, seconds, 0

    def __call__(self) -> int:
        self.clock.now += self.seconds
        self.count += 1
        return self.count


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(kept, "time", clock)
    return clock


@pytest.mark.parametrize(("cost", "lasts"), [(0.0, 1.0), (0.01, 1.0), (0.1, 6.0), (3.0, 180.0)])
def test_a_value_is_kept_for_sixty_times_what_it_cost_and_a_second_at_least(clock: Clock, cost: float, lasts: float) -> None:
    values, read = Kept(), Reading(clock, cost)
    assert values.get("x", read) == 1
    clock.now += lasts - 0.01
    assert values.get("x", read) == 1
    clock.now += 0.02
    assert values.get("x", read) == 2


def test_after_the_deadline_an_old_value_will_do_but_none_will_not(clock: Clock) -> None:
    values, read = Kept(), Reading(clock)
    assert values.get("x", read, deadline=clock.now - 1) == 1
    clock.now += 10
    assert values.get("x", read, deadline=clock.now - 1) == 1
    assert values.get("x", read, deadline=clock.now + 1) == 2


def test_an_error_is_not_kept(clock: Clock) -> None:
    values = Kept()
    with pytest.raises(ZeroDivisionError):
        values.get("x", lambda: 1 // 0)
    assert values.get("x", lambda: 5) == 5


def test_threads_that_want_the_same_read_it_once() -> None:
    values, count, gate = Kept(), [], threading.Event()

    def read() -> int:
        gate.wait(5)
        count.append(1)
        return len(count)

    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(values.get("x", read))) for _ in range(5)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join(5)
    assert found == [1] * 5


def test_while_one_thread_reads_the_others_take_the_old_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "SHORTEST", 0.0)
    values, gate, begun = Kept(), threading.Event(), threading.Event()
    values.get("x", lambda: "old")
    time.sleep(0.01)

    def slow() -> str:
        begun.set()
        gate.wait(5)
        return "new"

    thread = threading.Thread(target=values.get, args=("x", slow))
    thread.start()
    begun.wait(5)
    assert values.get("x", lambda: "unwanted") == "old"
    gate.set()
    thread.join(5)
    assert values._entries["x"].value == "new"


def test_a_thread_that_hangs_does_not_make_an_old_value_good_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "SHORTEST", 0.0)
    monkeypatch.setattr(kept, "FACTOR", 0.0)
    monkeypatch.setattr(kept, "OLDEST", 0.05)
    values, gate = Kept(), threading.Event()
    values.get("x", lambda: "old")
    hanging = threading.Thread(target=values.get, args=("x", lambda: gate.wait(5) and "new"))
    hanging.start()
    time.sleep(0.1)
    found: list[str] = []
    waiting = threading.Thread(target=lambda: found.append(values.get("x", lambda: "newer")))
    waiting.start()
    time.sleep(0.05)
    assert found == []
    gate.set()
    waiting.join(5)
    hanging.join(5)
    assert found == ["new"]
