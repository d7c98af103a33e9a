"""A limit of our account, or a refusal of us in whatever words and at whatever stage, never fails an email."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from flask_outbox import Email
from flask_outbox.store.models import Health
from flask_outbox.testing import SmtpServer, reply
from flasky.extensions import db

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

pytestmark = pytest.mark.usefixtures("quiet")
REFUSALS = [
    ("MAIL", "550 5.4.5 Daily user sending limit exceeded"),
    ("RCPT", "550 5.7.1 Daily SMTP relay sending limit exceeded for this customer"),
    ("RCPT", "504 5.5.2 <web_1.internal>: Helo command rejected: need fully-qualified hostname"),
    ("RCPT", "450 4.7.1 <web1.internal>: Helo command rejected: Host not found"),
    ("RCPT", "454 4.7.1 <b@example.com>: Relay access denied"),
    ("DOT", "454 Throttling failure: Daily message quota exceeded"),
    ("DOT", "550 Domain example.com has exceeded the max emails per hour (3/2 (150%)) allowed. Message discarded."),
    ("DOT", "554 5.2.252 SendAsDenied; box@example.com not allowed to send as noreply@example.org"),
    ("DOT", "554 5.2.0 STOREDRV.Submission.Exception:OutboundSpamException; Failed to process message"),
    ("DOT", "554 Message rejected: Email address is not verified. The following identities failed the check: a@example.com"),
]


@pytest.mark.parametrize(("stage", "said"), REFUSALS, ids=[said[:30] for _, said in REFUSALS])
def test_however_often_it_comes_nothing_fails_and_no_attempt_counts(
    smtp: SmtpServer,
    put: Callable[..., Email],
    statuses: Callable[[], list[str]],
    due: Callable[[], None],
    quiet: Flask,
    stage: str,
    said: str,
) -> None:
    smtp.on(stage, reply(said), always=True)
    for number in range(4):
        put(f"{number}@example.com")
    for _ in range(3):
        # Each pass is a worker that has just started.
        couriers = quiet.extensions["mail"].make_couriers()
        couriers.run()
        couriers.close()
        assert db.session.scalars(sa.select(Health)).one().ours
        due()
    assert statuses() == ["queued"] * 4
    assert [email.tries for email in db.session.scalars(sa.select(Email))] == [0] * 4
