"""outbox.deliver(): what is settled, what is counted, and what happens inside a transaction of the test's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from flask_outbox import compose, enqueue, send_email
from flask_outbox.testing import RecordedOutbox, SmtpServer, reply
from tests.outbox.testing.conftest import joined
from tests.outbox.testing.host import User, db, greet, in_database, recipients

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask


def test_deliver_sends_what_is_due_and_returns_how_many(app: Flask, outbox: RecordedOutbox) -> None:
    assert outbox.deliver() == 0
    with app.app_context():
        db.session().expire_on_commit = False
        greet("susan")
        email = greet("ann")
        enqueue(compose("b@example.com", "hi", "mail/bye"), send_at=datetime.now(UTC) + timedelta(hours=1))
        enqueue(compose("c@example.com", "hi", "mail/bye"), expires_at=datetime.now(UTC) - timedelta(hours=1))
        assert outbox.deliver() == 3
        assert email.status == "sent"
        assert [one.status for one in outbox] == ["sent", "sent", "queued", "expired"]
        assert outbox[0].email.attempts[0].outcome == "sent"
    assert outbox.deliver() == 0


def test_deliver_leaves_what_is_not_committed_alone(app: Flask, outbox: RecordedOutbox) -> None:
    with app.app_context():
        db.session.add(User(name="susan"))
        greet("susan")
        with pytest.raises(RuntimeError, match="commit or roll back"):
            outbox.deliver()
        db.session.rollback()
        assert outbox.deliver() == 0
        assert db.session.scalars(sa.select(User)).all() == []


def test_what_an_earlier_test_has_left_behind_is_not_counted(app: Flask, outbox: RecordedOutbox) -> None:
    app.test_client().post("/users/susan")
    outbox.clear()
    app.test_client().post("/users/ann")
    assert outbox.deliver() == 1


def test_deliver_goes_to_a_real_server_where_one_is_set(make_host: Callable[..., Flask], smtp: SmtpServer) -> None:
    app = make_host(MAIL_SERVER=smtp.host, MAIL_PORT=smtp.port, MAIL_SUPPRESS_SEND=False)
    with RecordedOutbox(app).recording() as outbox:
        smtp.on("RCPT", reply("550 5.1.1 no such user"), reply("451 4.7.1 later"))
        with app.app_context():
            for name in ("susan", "ann", "joe"):
                greet(name)
        assert outbox.deliver() == 3
        assert [email.status for email in outbox] == ["failed", "queued", "sent"]
        assert smtp.accepted[0].source == outbox[2].source


def test_deliver_tries_a_server_again_that_was_away(make_host: Callable[..., Flask], smtp: SmtpServer) -> None:
    app = make_host(MAIL_SERVER=smtp.host, MAIL_PORT=smtp.port, MAIL_SUPPRESS_SEND=False)
    with RecordedOutbox(app).recording() as outbox:
        app.test_client().post("/users/susan")
        smtp.on("CONNECT", reply("554 5.3.2 down"))
        assert outbox.deliver() == 0
        assert outbox.deliver() == 1


# Inside a transaction that a test has joined


def test_in_an_outer_transaction_everything_works_and_nothing_stays(app: Flask, outbox: RecordedOutbox) -> None:
    with joined(app):
        app.test_client().post("/users/susan")
        assert recipients(outbox) == ["susan@example.com"]
        assert outbox.one().status == "queued"
        with app.app_context():
            db.session.add(User(name="ann"))
            greet("ann")
            assert len(outbox) == 2
            with pytest.raises(RuntimeError, match="commit or roll back"):
                outbox.deliver()
            db.session.rollback()
            assert recipients(outbox) == ["susan@example.com"]
            enqueue(compose("b@example.com", "hi", "mail/bye"), expires_at=datetime.now(UTC) - timedelta(hours=1))
            assert outbox.deliver() == 2
            assert [email.status for email in outbox] == ["sent", "expired"]
            assert outbox[0].email.attempts[0].outcome == "sent"
            assert db.session.scalars(sa.select(User.name)).all() == ["susan"]
        assert outbox.deliver() == 0
    with app.app_context():
        assert in_database() == []
        assert db.session.scalars(sa.select(User)).all() == []


def test_in_an_outer_transaction_a_real_server_has_its_say(make_host: Callable[..., Flask], smtp: SmtpServer) -> None:
    app = make_host(MAIL_SERVER=smtp.host, MAIL_PORT=smtp.port, MAIL_SUPPRESS_SEND=False, MAIL_ALLOW_TO="example.com")
    with RecordedOutbox(app).recording() as outbox, joined(app), app.app_context():
        smtp.on("RCPT", reply("550 5.1.1 no such user"), reply("451 4.7.1 later"))
        for name in ("susan", "ann", "joe"):
            greet(name)
        send_email("x@elsewhere.org", "hi", "mail/bye")
        assert outbox.deliver() == 4
        assert [email.status for email in outbox] == ["failed", "queued", "sent", "held"]
        assert [each.outcome for email in outbox for each in email.email.attempts] == ["refused", "deferred", "sent"]
        assert outbox[0].email.reply == "550 5.1.1 no such user"
        assert outbox[0].email.attempts[0].enhanced == "5.1.1"
        assert outbox[1].email.send_at > datetime.now(UTC)
        assert [each.recipient for each in smtp.accepted] == ["joe@example.com"]
        smtp.on("CONNECT", reply("554 5.3.2 down"))
        greet("zoe")
        assert outbox.deliver() == 0
