"""What an operator may do to the outbox, also while a worker has the row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_outbox import Attempt, Email, Message, Status, enqueue
from flask_outbox.store.models import Content
from flask_outbox.store.operations import actions
from flask_outbox.store.operations.actions import NotPossible
from flask_outbox.store.outbox import Outbox, Try
from flask_outbox.testing import SmtpServer, reply
from flasky.extensions import db

pytestmark = pytest.mark.usefixtures("quiet")
Put, Read = "Callable[..., Email]", "Callable[[], Any]"


def test_what_waits_can_be_cancelled(put: Put, deliver: Read, statuses: Read, smtp: SmtpServer) -> None:
    email = put(secret=True)
    actions.cancel(db.engine, email.id)
    deliver()
    assert statuses() == ["cancelled"]
    assert not smtp.accepted
    db.session.expire_all()
    assert email.content.source is None


@pytest.mark.parametrize("action", [actions.cancel, actions.retry])
def test_what_a_worker_has_is_left_to_it(put: Put, statuses: Read, action: Any) -> None:
    email = put()
    outbox = Outbox(db.engine, "a worker")
    batch = outbox.claim()
    assert batch is not None
    with pytest.raises(NotPossible, match="a worker is sending it at this moment"):
        action(db.engine, email.id)
    claimed = next(iter(batch.open.values()))
    assert outbox.settle_sent(batch, claimed, Try(datetime.now(UTC), 0.1, "sent", 250, None, "ok"))
    outbox.close()
    assert statuses() == ["sent"]


def test_what_was_sent_is_neither_cancelled_nor_sent_again(put: Put, deliver: Read) -> None:
    email = put()
    deliver()
    for action in (actions.cancel, actions.retry):
        with pytest.raises(NotPossible, match="it is sent"):
            action(db.engine, email.id)


def test_there_is_no_such_email() -> None:
    with pytest.raises(NotPossible, match="there is no email 4711"):
        actions.cancel(db.engine, 4711)


def test_what_has_failed_gets_a_new_life(put: Put, deliver: Read, statuses: Read, smtp: SmtpServer) -> None:
    email = put(expires_at=datetime.now(UTC) + timedelta(seconds=60))
    smtp.on("RCPT", reply("550 5.1.1 no such user"))
    deliver()
    assert statuses() == ["failed"]
    actions.retry(db.engine, email.id)
    deliver()
    assert statuses() == ["sent"]


def test_what_has_expired_is_sent_all_the_same_when_the_operator_says_so(put: Put, deliver: Read, statuses: Read) -> None:
    email = put(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    deliver()
    assert statuses() == ["expired"]
    actions.retry(db.engine, email.id)
    deliver()
    assert statuses() == ["sent"]


def test_all_that_failed_is_retried_and_nothing_else(put: Put, deliver: Read, statuses: Read, smtp: SmtpServer) -> None:
    smtp.on("RCPT", reply("550 5.1.1 no"), reply("550 5.1.1 no"))
    for _ in range(3):
        put()
    deliver()
    assert actions.retry_all(db.engine, Status.FAILED) == 2
    deliver()
    assert statuses() == ["sent"] * 3
    assert len(smtp.accepted) == 3


def test_an_erased_secret_cannot_be_sent_again(put: Put, deliver: Read, smtp: SmtpServer) -> None:
    email = put(secret=True)
    smtp.on("RCPT", reply("550 5.1.1 no"))
    deliver()
    with pytest.raises(NotPossible, match="its body has been erased"):
        actions.retry(db.engine, email.id)


def test_purging_removes_what_is_finished_and_old_and_nothing_else(
    put: Put, deliver: Read, statuses: Read, smtp: SmtpServer
) -> None:
    message = Message("hi", ["old@example.com", "kept@example.com"], "text", sender="a@example.com")
    old, kept = enqueue(message)
    deliver()
    with db.engine.begin() as connection:
        connection.execute(sa.update(Email).where(Email.id == old.id).values(finished_at=datetime.now(UTC) - timedelta(days=31)))
    put(send_at=datetime.now(UTC) + timedelta(days=1))
    assert sum(actions.purge(db.engine, timedelta(days=30))) == 1
    db.session.expire_all()
    assert statuses() == ["sent", "queued"]
    assert [one.email_id for one in db.session.scalars(sa.select(Attempt))] == [kept.id]
    assert db.session.scalar(sa.select(sa.func.count(Content.id))) == 2
    assert sum(actions.purge(db.engine, timedelta(0))) == 1
    assert db.session.scalar(sa.select(sa.func.count(Content.id))) == 1


def test_purging_goes_in_small_transactions(put: Put, deliver: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "PURGE_CHUNK", 2)
    for _ in range(5):
        put()
    deliver()
    assert list(actions.purge(db.engine, timedelta(0))) == [2, 2, 1]
