"""A worker is frozen past its lease, and wakes when another has done its work: nothing goes out twice."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from flask_outbox.testing import slow
from tests.servers import wait_until

if TYPE_CHECKING:
    from tests.chaos.conftest import Stage


@pytest.mark.parametrize("stage_of_freeze", ["RCPT", "DATA"])
def test_a_worker_that_wakes_after_its_lease_sends_nothing(stage: Stage, stage_of_freeze: str) -> None:
    stage.smtp.extensions.remove("PIPELINING")
    stage.smtp.on(stage_of_freeze, slow(1))
    stage.put(5)
    sleeper = stage.worker(lease=2)
    wait_until(lambda: any(line.startswith(stage_of_freeze) for line in stage.smtp.commands), 15, "the first email on the wire")
    sleeper.signal(signal.SIGSTOP)
    stage.worker(lease=2)
    stage.wait_until_sent()
    sleeper.signal(signal.SIGCONT)
    time.sleep(1.5)
    stage.put(5)
    stage.wait_until_sent()
    stage.assert_nothing_lost()
    stage.assert_nothing_twice()
    assert "frozen until its lease expired" in sleeper.output
    assert sleeper.popen.poll() is None


def test_a_lease_is_renewed_while_the_server_takes_its_time(stage: Stage) -> None:
    stage.smtp.on("DOT", slow(5))
    stage.put(3)
    first = stage.worker(lease=2)
    stage.worker(lease=2)
    stage.wait_until_sent()
    stage.assert_nothing_twice()
    assert "frozen" not in first.output
