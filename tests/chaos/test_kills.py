"""Workers are killed at random moments under load: nothing lost, at most one copy for each kill."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest

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
        dialect = stage.app.config["SQLALCHEMY_DATABASE_URI"].partition(":")[0]
        print(f"\n{dialect}: {KILLS} kills, {stage.put_count} emails, {stage.put_count - len(stage.copies())} lost, {copies} copies")
    stage.assert_nothing_lost()
    stage.assert_copies_are_alike()
    assert copies <= KILLS
