"""A worker is killed at each step of an email's way, and the outcome is exactly the expected one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.chaos.conftest import Stage

# Before the final dot nothing has happened; after it the server has the email, and only the settle would tell.
BEFORE, BETWEEN, AFTER = ("connected", "claimed", "MAIL"), ("dot", "accepted"), ("settled",)
LEFT_BEHIND = {"connected": "queued", "settled": "sent"}
ONE_BY_ONE = ("RCPT", "DATA")


@pytest.mark.parametrize(
    ("step", "pipelining", "copies"),
    [(step, True, 1) for step in BEFORE + AFTER]
    + [(step, False, 1) for step in ONE_BY_ONE]
    + [(step, True, 2) for step in BETWEEN],
)
def test_a_worker_killed_at_a_step(stage: Stage, step: str, pipelining: bool, copies: int) -> None:
    if not pipelining:
        stage.smtp.extensions.remove("PIPELINING")
    stage.put()
    victim = stage.worker(step, lease=1)
    assert victim.popen.wait(15) == -9
    assert stage.statuses() == {LEFT_BEHIND.get(step, "sending"): 1}
    stage.worker(lease=1)
    stage.wait_until_sent()
    assert sum(stage.copies().values()) == copies
    stage.assert_copies_are_alike()


@pytest.mark.parametrize(("step", "copies"), [("dot", 2), ("accepted", 2), ("settled", 1)])
def test_a_worker_killed_with_the_next_envelope_on_the_wire(stage: Stage, step: str, copies: int) -> None:
    """Only the first email can have a copy: of the second the server has heard the envelope at most, and never the message."""
    stage.put(3)
    victim = stage.worker(step, lease=1)
    assert victim.popen.wait(15) == -9
    stage.worker(lease=1)
    stage.wait_until_sent()
    assert list(stage.copies().values()) == [copies, 1, 1]
    stage.assert_copies_are_alike()
