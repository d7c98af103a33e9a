"""One pass over the outbox, against a real server that says yes, no, later, or nothing."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from flask_outbox import BULK, URGENT, Attempt, Email, Message, enqueue
from flask_outbox.store import lease
from flask_outbox.store.models import Health
from flask_outbox.store.outbox import BATCH
from flask_outbox.store.statements import due_statement
from flask_outbox.testing import SmtpServer, accept_then_drop, drop, reply, slow
from flasky.extensions import db

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

pytestmark = pytest.mark.usefixtures("quiet")
Put, Read = "Callable[..., Email]", "Callable[[], Any]"


def test_a_due_email_is_sent_and_its_attempt_is_recorded(smtp: SmtpServer, put: Put, deliver: Read, statuses: Read) -> None:
    email = put()
    assert deliver() == 1
    assert statuses() == ["sent"]
    assert smtp.accepted[0].message_id == email.message_id
    one = db.session.scalars(sa.select(Attempt)).one()
    assert (one.outcome, one.code, one.enhanced, one.reply) == ("sent", 250, "2.0.0", "2.0.0 accepted")
    assert 0 <= one.seconds < 5
    assert abs(one.started_at - datetime.now(UTC)) < timedelta(seconds=5)
    db.session.refresh(email)
    assert email.finished_at is not None
    assert (email.lease, email.lease_until, email.tries) == (None, None, 1)


def test_urgent_mail_goes_first_then_the_oldest(smtp: SmtpServer, put: Put, deliver: Read) -> None:
    put("bulk@example.com", priority=BULK)
    put("second@example.com")
    put("third@example.com")
    put("first@example.com", priority=URGENT)
    deliver()
    assert [one.recipient.partition("@")[0] for one in smtp.accepted] == ["first", "second", "third", "bulk"]


def test_scheduled_mail_waits_for_its_time(smtp: SmtpServer, put: Put, deliver: Read, statuses: Read, quiet: Flask) -> None:
    put(send_at=datetime.now(UTC) + timedelta(hours=1))
    assert deliver() == 0
    assert statuses() == ["queued"]
    assert quiet.extensions["mail"].bell.count == 0


def test_a_full_batch_is_followed_by_the_next(smtp: SmtpServer, deliver: Read) -> None:
    for number in range(BATCH + 3):
        enqueue(Message("hi", [f"{number}@example.com"], "text", sender="a@example.com"))
    assert deliver() == BATCH + 3
    # Commits of PostgreSQL that are slower than the server are a reason for more connections.
    assert smtp.connections == 1 or db.engine.dialect.name == "postgresql"


def test_a_claim_uses_the_index_and_sorts_no_backlog(put: Put) -> None:
    for number in range(60):
        put(f"{number}@example.com")
    with db.engine.begin() as connection:
        copies = "INSERT INTO mail_email (content_id, recipient, status, priority, send_at, due_since, tries, created_at) "
        same = "content_id, recipient, status, priority, send_at, due_since, tries, created_at FROM mail_email"
        for _ in range(6):
            connection.execute(sa.text(f"{copies} SELECT {same}"))
        if connection.dialect.name == "postgresql":  # which does so by itself, in time
            connection.execute(sa.text("ANALYZE"))
        due = due_statement(connection.dialect).params(now=datetime.now(UTC), limit=50)
        query = due.compile(connection, compile_kwargs={"literal_binds": True})
        explain = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
        plan = str(connection.exec_driver_sql(f"{explain} {query}").all())
    assert "ix_mail_email_due" in plan
    assert "sort" not in plan.lower()
    assert "temp b-tree" not in plan.lower()


def test_a_temporary_refusal_is_retried_later_with_the_same_bytes(
    smtp: SmtpServer, put: Put, deliver: Read, statuses: Read, outcomes: Read, due: Read
) -> None:
    email = put()
    smtp.on("RCPT", reply("451 4.7.1 greylisted"))
    before = datetime.now(UTC)
    deliver()
    assert statuses() == ["queued"]
    db.session.refresh(email)
    assert timedelta(seconds=9) < email.send_at - before < timedelta(minutes=3)
    assert deliver() == 0
    due()
    deliver()
    assert statuses() == ["sent"]
    assert outcomes() == [("deferred", 451), ("sent", 250)]
    assert smtp.accepted[0].source == email.content.source


def test_a_lost_acceptance_is_uncertain_and_the_copy_has_the_same_message_id(
    smtp: SmtpServer, put: Put, deliver: Read, outcomes: Read, due: Read
) -> None:
    put()
    smtp.on("DOT", accept_then_drop)
    deliver()
    due()
    deliver()
    assert outcomes() == [("uncertain", None), ("sent", 250)]
    assert len({one.message_id for one in smtp.accepted}) == 1
    assert len(smtp.accepted) == 2


def test_a_refused_recipient_fails_and_keeps_the_reply(smtp: SmtpServer, put: Put, deliver: Read, statuses: Read) -> None:
    email = put("gone@example.com")
    put()
    smtp.on("RCPT", reply("550 5.1.1 no such user"))
    deliver()
    assert statuses() == ["failed", "sent"]
    db.session.refresh(email)
    assert email.reply == "550 5.1.1 no such user"


def test_an_email_past_its_life_fails_with_the_last_reply(
    smtp: SmtpServer, put: Put, deliver: Read, statuses: Read, due: Read
) -> None:
    email = put()
    smtp.on("RCPT", reply("451 4.7.1 later"), always=True)
    deliver()
    assert statuses() == ["queued"]
    with db.engine.begin() as connection:
        connection.execute(sa.update(Email).values(due_since=datetime.now(UTC) - timedelta(days=3, seconds=1)))
    due()
    deliver()
    assert statuses() == ["failed"]
    db.session.refresh(email)
    assert email.reply == "451 4.7.1 later"


def test_the_life_of_a_scheduled_email_begins_when_it_is_due(smtp: SmtpServer, put: Put, deliver: Read, statuses: Read) -> None:
    put(send_at=datetime.now(UTC))
    with db.engine.begin() as connection:
        connection.execute(sa.update(Email).values(created_at=datetime.now(UTC) - timedelta(days=30)))
    smtp.on("RCPT", reply("451 4.7.1 later"))
    deliver()
    assert statuses() == ["queued"]


def test_an_expired_email_is_not_sent(smtp: SmtpServer, put: Put, deliver: Read, statuses: Read) -> None:
    put(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    put(expires_at=datetime.now(UTC) + timedelta(hours=1))
    deliver()
    assert statuses() == ["expired", "sent"]
    assert len(smtp.accepted) == 1


def test_an_expired_email_is_not_announced(smtp: SmtpServer, put: Put, deliver: Read, statuses: Read) -> None:
    put("1@example.com")
    put("2@example.com", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    put("3@example.com")
    deliver()
    assert statuses() == ["sent", "expired", "sent"]
    assert smtp.connections == 1
    assert not any("2@example.com" in line for line in smtp.commands)


def test_a_server_that_is_down_costs_no_email_a_try(
    put: Put, deliver: Read, statuses: Read, outcomes: Read, smtp: SmtpServer
) -> None:
    for _ in range(3):
        put()
    smtp.on("CONNECT", drop, always=True)
    deliver()
    assert statuses() == ["queued"] * 3
    assert outcomes() == []
    health = db.session.scalars(sa.select(Health)).one()
    assert (health.ours, health.failures) == (False, 1)
    connections = smtp.connections
    deliver()
    assert smtp.connections == connections  # it is left alone for a while


def test_the_pause_before_the_next_try_of_a_server_grows_until_a_success(
    put: Put, deliver: Read, statuses: Read, smtp: SmtpServer, caplog: pytest.LogCaptureFixture
) -> None:
    put()
    smtp.on("CONNECT", drop, always=True)
    pauses = []
    for _ in range(3):
        deliver()
        row = db.session.execute(sa.select(Health.next_try_at)).scalar_one()
        pauses.append(row - datetime.now(UTC))
        with db.engine.begin() as connection:
            connection.execute(sa.update(Health).values(next_try_at=datetime.now(UTC)))
        db.session.rollback()
    assert pauses[0] < pauses[1] < pauses[2]
    smtp.reset()
    deliver()
    assert statuses() == ["sent"]
    assert db.session.scalar(sa.select(Health)) is None
    assert "works again" in caplog.text


def test_a_421_in_the_middle_puts_the_batch_back(smtp: SmtpServer, put: Put, deliver: Read, statuses: Read, outcomes: Read) -> None:
    for _ in range(3):
        put()
    smtp.on("DATA", reply("421 4.3.2 going down"), always=True)
    deliver()
    assert statuses() == ["queued"] * 3
    assert outcomes() == [("unavailable", 421)]
    assert [email.tries for email in db.session.scalars(sa.select(Email))] == [0] * 3


def test_a_server_that_answers_an_email_is_available_again(smtp: SmtpServer, put: Put, deliver: Read) -> None:
    put()
    smtp.on("CONNECT", drop)
    deliver()
    with db.engine.begin() as connection:
        connection.execute(sa.update(Health).values(next_try_at=datetime.now(UTC) - timedelta(seconds=1)))
    smtp.on("RCPT", reply("550 5.1.1 no such user"))
    deliver()
    assert db.session.scalar(sa.select(Health)) is None


def test_a_connection_that_takes_longer_than_a_lease_is_opened_before_the_claim(
    smtp: SmtpServer, put: Put, deliver: Read, statuses: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE", timedelta(seconds=0.5))
    smtp.on("CONNECT", slow(0.4))
    smtp.on("EHLO", slow(0.4))
    put()
    deliver()
    assert statuses() == ["sent"]


def test_a_secret_body_is_erased_after_the_last_recipient(smtp: SmtpServer, quiet: Flask, deliver: Read) -> None:
    message = Message("reset", ["a@example.com", "b@example.com"], "the token", sender="a@example.com")
    first, _ = enqueue(message, secret=True)
    smtp.on("RCPT", reply("451 4.7.1 later"))
    deliver()
    db.session.expire_all()
    assert first.content.source is not None  # one still waits
    with db.engine.begin() as connection:
        connection.execute(sa.text("UPDATE mail_email SET send_at = created_at"))
    db.session.rollback()
    deliver()
    db.session.expire_all()
    assert first.content.source is None
    assert len(smtp.accepted) == 2


@pytest.mark.parametrize("said", ["550 5.1.1 no such user", None])
def test_a_secret_body_is_erased_when_its_email_fails_or_expires(
    smtp: SmtpServer, put: Put, deliver: Read, said: str | None
) -> None:
    if said:
        smtp.on("RCPT", reply(said))
    email = put(secret=True, expires_at=None if said else datetime.now(UTC) - timedelta(seconds=1))
    deliver()
    db.session.expire_all()
    assert email.status == ("failed" if said else "expired")
    assert email.content.source is None


def test_a_large_message_is_sent_whole(smtp: SmtpServer, deliver: Read) -> None:
    message = Message("large", ["b@example.com"], "text", sender="a@example.com")
    message.attach("data.bin", "application/octet-stream", b"x" * 400_000)
    email = enqueue(message)[0]
    deliver()
    assert smtp.accepted[0].source == email.content.source


def test_no_address_is_in_the_log(smtp: SmtpServer, put: Put, deliver: Read, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "flasky")
    put("susan@example.com")
    smtp.on("RCPT", reply("550 5.1.1 <susan@example.com>: no such user"))
    deliver()
    assert "susan" not in caplog.text
    assert "s…@example.com" in caplog.text


def test_mail_suppress_send_sends_nothing_and_notes_it(make_app: Callable[..., Flask], smtp: SmtpServer) -> None:
    with make_app(mail_suppress_send=True).app_context():
        email = enqueue(Message("hi", ["b@example.com"], "text", sender="a@example.com"))[0]
        db.session.refresh(email)
        assert email.status == "sent"
        assert "MAIL_SUPPRESS_SEND" in (email.reply or "")
    assert smtp.connections == 0
