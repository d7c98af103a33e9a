"""Workers are killed at random moments under load: nothing lost, at most one copy for each kill."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest

from flasky.extensions import db
from tests.chaos.conftest import LONG
from tests.smtpserver import slow

if TYPE_CHECKING:
    from tests.chaos.conftest import Stage

KILLS = 200 if LONG else 15


@pytest.mark.timeout(1800)
def test_random_kills_lose_nothing(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    # Slow enough that most kills hit an email on the wire.
    stage.smtp.on("DOT", slow(0.01), always=True)
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
    stage.wait_until_sent(120)
    copies = sum(stage.copies().values()) - stage.put_count
    with capsys.disabled():
        lost = stage.put_count - len(stage.copies())
        print(f"\n{db.engine.dialect.name}: {KILLS} kills, {stage.put_count} emails, {lost} lost, {copies} copies")  # noqa: T201 - the figures
    stage.assert_nothing_lost()
    stage.assert_copies_are_alike()
    assert copies <= KILLS
