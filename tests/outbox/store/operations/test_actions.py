"""What an operator may do to the outbox, also while a worker has the row."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_outbox import Attempt, Email, Message, enqueue
from flask_outbox.store.models import Content
from flask_outbox.store.operations import actions, bulk
from flask_outbox.store.operations.actions import NotPossible
from flask_outbox.store.operations.operator import Operator
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
    assert bulk.run(db.engine, "retry", "status:failed", 2, Operator("susan", "192.0.2.1")) == 2
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


def test_a_retry_starts_afresh_and_by_the_databases_clock(put: Put, deliver: Read, due: Read, smtp: SmtpServer) -> None:
    smtp.on("RCPT", *[reply("451 4.7.1 later")] * 3, reply("550 5.1.1 no"))
    email = put()
    for _ in range(4):
        due()
        deliver()
    db.session.expire_all()
    assert (email.status, email.tries) == ("failed", 4)
    hosts_clock = datetime.now(UTC)
    with db.engine.begin() as connection:
        connection.execute(
            sa.update(Email).values(send_at=hosts_clock - timedelta(days=9), due_since=hosts_clock - timedelta(days=9))
        )
    actions.retry(db.engine, email.id)
    db.session.expire_all()
    assert (email.status, email.tries, email.due_since) == ("queued", 0, email.send_at)
    assert len(email.attempts) == 4
    smtp.on("RCPT", reply("451 4.7.1 later"))
    deliver()
    db.session.expire_all()
    # The first backoff is two minutes at most; after four attempts it would be up to half an hour.
    assert email.tries == 1
    assert email.send_at - email.due_since < timedelta(minutes=2, seconds=30)


# On SQLite the host's clock is the database's.
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("action", ["retry", "cancel", "purge"])
def test_a_host_with_a_wrong_clock_changes_nothing(put: Put, deliver: Read, monkeypatch: pytest.MonkeyPatch, action: str) -> None:
    class TomorrowsClock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(days=1)

    monkeypatch.setattr(actions, "datetime", TomorrowsClock, raising=False)
    email = put()
    if action == "purge":
        deliver()
        assert sum(actions.purge(db.engine, timedelta(hours=1))) == 0
        return
    actions.cancel(db.engine, email.id)
    db.session.expire_all()
    assert email.finished_at is not None
    assert email.finished_at < datetime.now(UTC) + timedelta(hours=1)
    if action == "retry":
        actions.retry(db.engine, email.id)
        db.session.expire_all()
        assert email.send_at < datetime.now(UTC) + timedelta(hours=1)


def test_a_retry_between_the_steps_of_a_purge_loses_no_attempt(put: Put, deliver: Read, smtp: SmtpServer) -> None:
    smtp.on("RCPT", reply("550 5.1.1 no"))
    email = put()
    deliver()
    retried: list[Any] = []

    def retry_meanwhile(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith("DELETE FROM mail_attempt") or retried:
            return
        thread = threading.Thread(target=lambda: retried.append(attempt_retry(email_id)))
        thread.start()
        # Long enough for a retry that nothing blocks; one that waits for the purge goes on after it.
        thread.join(0.5)
        retried.append(thread)

    def attempt_retry(number: int) -> str:
        try:
            actions.retry(engine, number)
        except NotPossible as error:
            return str(error)
        return "retried"

    engine, email_id = db.engine, email.id
    sa.event.listen(engine, "before_cursor_execute", retry_meanwhile)
    purged = sum(actions.purge(engine, timedelta(0)))
    sa.event.remove(engine, "before_cursor_execute", retry_meanwhile)
    for thread in retried:
        if isinstance(thread, threading.Thread):
            thread.join()
    db.session.expire_all()
    left = [len(one.attempts) for one in db.session.scalars(sa.select(Email)).unique()]
    # Either the purge deletes the email and the retry finds none, or the email is queued with its attempts.
    assert (purged, left) in [(1, []), (0, [1])]


def test_purges_that_share_a_message_leave_nothing_behind(quiet: Any, deliver: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    enqueue(Message("hi", [f"{number}@example.com" for number in range(40)], "text", sender="a@example.com"))
    deliver()
    monkeypatch.setattr(actions, "PURGE_CHUNK", 3)
    engine = db.engine
    threads = [threading.Thread(target=lambda: list(actions.purge(engine, timedelta(0)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(actions.purge(engine, timedelta(0))) == 0
    for table in (Email, Attempt, Content):
        assert db.session.scalar(sa.select(sa.func.count()).select_from(table)) == 0
