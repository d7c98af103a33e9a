"""Workers are killed at random moments under load: nothing lost, at most one copy for each kill."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest

from flask_outbox.testing import slow
from flasky.extensions import db
from tests.chaos.conftest import LONG

if TYPE_CHECKING:
    from tests.chaos.conftest import Stage

KILLS = 200 if LONG else 15
# How long the server takes to accept, in seconds, and how many connections a worker opens for that: at most so many emails of a
# killed worker are in the one window. Ten milliseconds are slow enough that most kills hit it.
SERVERS = {"near": (0.01, 1), "far": (0.04, 4)}


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("server", SERVERS)
def test_random_kills_lose_nothing(stage: Stage, server: str, capsys: pytest.CaptureFixture[str]) -> None:
    seconds, connections = SERVERS[server]
    stage.smtp.on("DOT", slow(seconds), always=True)
    stage.put(50)
    workers = [stage.worker(lease=2), stage.worker(lease=2)]
    stage.smtp.wait_for(1, 15)
    chance = random.Random(20261123)
    for _ in range(KILLS):
        stage.put(40)
        time.sleep(chance.uniform(0.05, 0.6))
        victim = workers.pop(0)
        victim.kill()
        workers.append(stage.worker(lease=2))
    stage.wait_until_sent(300)
    copies = sum(stage.copies().values()) - stage.put_count
    with capsys.disabled():
        lost = stage.put_count - len(stage.copies())
        print(f"\n{db.engine.dialect.name}, {server}: {KILLS} kills, {stage.put_count} emails, {lost} lost, {copies} copies")  # noqa: T201 - the figures
    stage.assert_nothing_lost()
    stage.assert_copies_are_alike()
    assert copies <= KILLS * connections
    assert stage.smtp.most_open <= 2 * connections
