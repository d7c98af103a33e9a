"""A process is killed directly before and directly after its commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from flasky.extensions import db
from flasky.models import User
from tests.servers import ROOT

if TYPE_CHECKING:
    from tests.chaos.conftest import Stage


@pytest.mark.parametrize(("when", "emails"), [("before", 0), ("after", 1)])
def test_the_email_shares_the_fate_of_the_commit(stage: Stage, when: str, emails: int) -> None:
    process = stage.site.start("caller", "python", str(ROOT / "tests/chaos/commit_and_die.py"), when)
    assert process.popen.wait(20) == -9, process.output
    assert len(db.session.scalars(sa.select(User)).all()) == emails
    assert stage.statuses() == ({"queued": 1} if emails else {})
    stage.put_count = emails
    if emails:
        stage.worker()
        stage.wait_until_sent()
        stage.assert_nothing_lost()
        stage.assert_nothing_twice()
