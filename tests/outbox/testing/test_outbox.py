"""The fixture outbox: what it holds in each state of the test's transaction, and how it delivers."""

from __future__ import annotations

import gc
import weakref
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from flask_outbox import Attachment, Email, Message, compose, email_enqueued, enqueue, send_email
from flask_outbox.testing import RecordedOutbox, SmtpServer, reply
from tests.outbox.testing.conftest import joined
from tests.outbox.testing.host import User, db, greet

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask


def recipients(outbox: RecordedOutbox) -> list[str]:
    return [email.recipient for email in outbox]


def in_database() -> list[str]:
    """Return the status of every email, by a connection of its own."""
    with db.engine.connect() as connection:
        return list(connection.scalars(sa.select(Email.status).order_by(Email.id)))


# What it holds


def test_an_email_shows_what_the_caller_gave_and_what_was_made_of_it(app: Flask, outbox: RecordedOutbox) -> None:
    with app.app_context():
        message = compose(("Zoë", "zoe@example.com"), "Grüße", "mail/welcome", name="Zoë")
        message.cc.append("cc@example.com")
        message.attach("list.csv", "text/csv", b"1;2\r\n3;4")
        message.attachments.append(Attachment("logo.png", "image/png", b"\x89PNG", "inline"))
        enqueue(message)
    email = outbox.to("zoe@example.com").one()
    assert (email.subject, email.sender, email.recipient) == ("Grüße", "site@example.com", "zoe@example.com")
    assert (email.template, email.context) == ("mail/welcome", {"name": "Zoë"})
    assert email.recipients == ["zoe@example.com"]
    assert email.headers["Cc"] == "cc@example.com"
    assert email.message["To"].addresses[0].display_name == "Zoë"
    assert email.body is not None
    assert email.body.rstrip() == "Welcome, Zoë!\n\nGood to have you."
    assert email.html is not None
    assert "<b>Zoë</b>" in email.html
    found = [(file.filename, file.content_type, file.data, file.disposition) for file in email.attachments]
    assert found == [("list.csv", "text/csv", b"1;2\r\n3;4", "attachment"), ("logo.png", "image/png", b"\x89PNG", "inline")]
    assert (email.status, email.email.recipient, email.email.attempts) == ("queued", "zoe@example.com", [])
    assert len(outbox) == 2


def test_a_message_that_was_made_by_hand_has_no_template_and_no_halves(app: Flask, outbox: RecordedOutbox) -> None:
    with app.app_context():
        enqueue(Message("hi", ["a@example.com"], "text"))
    email = outbox.one()
    assert (email.template, email.context, email.html, email.attachments) == (None, {}, None, [])


def test_an_email_of_a_request_is_there_after_it(app: Flask, outbox: RecordedOutbox) -> None:
    app.test_client().post("/users/susan")
    assert recipients(outbox) == ["susan@example.com"]
    assert outbox[0].status == "queued"


def test_an_open_transaction_shows_its_email_and_loses_it_by_a_rollback(app: Flask, outbox: RecordedOutbox) -> None:
    with app.app_context():
        db.session.add(User(name="susan"))
        greet("susan")
        assert recipients(outbox) == ["susan@example.com"]
        assert outbox.one().status == "queued"
        db.session.flush()
        assert recipients(outbox) == ["susan@example.com"]
        assert outbox.one().status == "queued"
        db.session.rollback()
        assert not outbox
        greet("ann")
        assert recipients(outbox) == ["ann@example.com"]


def test_looking_neither_flushes_nor_commits(app: Flask, outbox: RecordedOutbox) -> None:
    with app.app_context():
        db.session.add(User(name="susan"))
        greet("susan")
        assert len(outbox) == 1
        assert repr(outbox[0].email)
        assert len(db.session.new) == 3
        db.session.flush()
        assert (len(outbox), outbox.one().status) == (1, "queued")
        db.session.rollback()
        assert db.session.scalars(sa.select(User)).all() == []
        assert in_database() == []


def test_looking_leaves_no_lock_behind(app: Flask, outbox: RecordedOutbox) -> None:
    with app.app_context():
        db.session.scalars(sa.select(User)).all()
        app.test_client().post("/users/susan")
        assert outbox.one().status == "queued"
        app.test_client().post("/users/ann")
        assert len(outbox) == 2


def test_a_session_that_is_closed_without_a_commit_takes_its_email_along(
    app: Flask, outbox: RecordedOutbox, caplog: pytest.LogCaptureFixture
) -> None:
    with app.app_context():
        db.session.add(User(name="susan"))
        greet("susan")
        db.session.flush()
    assert "never committed" in caplog.text
    assert not outbox
    with app.app_context():
        greet("ann")
    # Its row may have the number of the lost one.
    assert recipients(outbox) == ["ann@example.com"]


def test_a_savepoint_takes_only_its_own_email_along(app: Flask, outbox: RecordedOutbox) -> None:
    with app.app_context():
        db.session.add(User(name="susan"))
        greet("susan")
        savepoint = db.session.begin_nested()
        greet("ann")
        assert len(outbox) == 2
        savepoint.rollback()
        assert recipients(outbox) == ["susan@example.com"]


def test_a_failed_flush_can_be_looked_at(app: Flask, outbox: RecordedOutbox) -> None:
    with app.app_context():
        db.session.add(User(name="susan"))
        db.session.commit()
        db.session.add(User(name="susan"))
        greet("susan")
        with pytest.raises(IntegrityError):
            db.session.flush()
        assert not outbox


def test_the_same_key_again_is_no_new_email(app: Flask, outbox: RecordedOutbox) -> None:
    with app.app_context():
        for _ in range(2):
            enqueue(compose("a@example.com", "hi", "mail/bye"), key="once")
    assert len(outbox) == 1


def test_another_app_and_another_test_are_not_recorded(
    app: Flask, outbox: RecordedOutbox, make_host: Callable[..., Flask], tmp_path: Any
) -> None:
    other = make_host(f"sqlite:///{tmp_path / 'other.sqlite3'}")
    other.test_client().post("/users/susan")
    assert not outbox
    app.test_client().post("/users/ann")
    with RecordedOutbox(app).recording() as later:
        assert not later
        app.test_client().post("/users/joe")
        assert recipients(later) == ["joe@example.com"]
    assert len(outbox) == 2
    outbox.clear()
    assert not outbox


# Choosing


def test_emails_are_chosen_by_recipient_template_subject_and_context(app: Flask, outbox: RecordedOutbox) -> None:
    with app.app_context():
        for name in ("susan", "ann", "susan"):
            greet(name)
        send_email("susan@example.com", "Bye", "mail/bye", reason=None)
    assert len(outbox.to("Susan <susan@EXAMPLE.com>")) == 3
    assert [email.template for email in outbox.to("susan@example.com")[1:]] == ["mail/welcome", "mail/bye"]
    assert len(outbox.from_template("mail/welcome")) == 3
    assert len(outbox.with_subject("Welcome, susan")) == 2
    assert len(outbox.with_context(name="ann")) == 1
    assert len(outbox.with_context(reason=None)) == 1
    assert not outbox.with_context(other=None)
    assert outbox.to("susan@example.com").from_template("mail/bye").one().subject == "Bye"


def test_a_failed_choice_names_what_there_is(app: Flask, outbox: RecordedOutbox) -> None:
    assert repr(outbox) == "<no email>"
    assert repr(outbox.to("susan@example.com")) == "<no email to susan@example.com; the outbox is empty>"
    with app.app_context():
        greet("ann")
        assert repr(outbox) == "<1 email: 'Welcome, ann' to ann@example.com from mail/welcome>"
        there = "there are: 'Welcome, ann' to ann@example.com from mail/welcome"
        chosen = outbox.to("susan@example.com").from_template("mail/bye")
        assert repr(chosen) == f"<no email to susan@example.com from mail/bye; {there}>"
        with pytest.raises(AssertionError, match=f"no email to susan@example.com from mail/bye; {there}"):
            chosen.one()
        with pytest.raises(IndexError, match=f"there is no email 0: no email with name='susan'; {there}"):
            outbox.with_context(name="susan")[0]
        greet("joe")
        with pytest.raises(AssertionError, match=r"more than one email: 2 emails: 'Welcome, ann' to .*, 'Welcome, joe' to"):
            outbox.one()
        for number in range(20):
            greet(f"user{number}")
        assert repr(outbox).endswith("and 12 more>")


# Delivering


def test_deliver_sends_what_is_due_and_returns_how_many(app: Flask, outbox: RecordedOutbox) -> None:
    assert outbox.deliver() == 0
    with app.app_context():
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
        assert [each.recipient for each in smtp.accepted] == ["joe@example.com"]
        smtp.on("CONNECT", reply("554 5.3.2 down"))
        greet("zoe")
        assert outbox.deliver() == 0


# The signal


class Thing:
    """Something that a template may be given."""


def test_nothing_keeps_a_context_alive_once_it_is_enqueued(app: Flask) -> None:
    with app.app_context():
        db.session.add(User(name="susan"))
        thing = Thing()
        message = compose("a@example.com", "hi", "mail/bye", thing=thing)
        gone = weakref.ref(thing)
        del thing
        assert gone() is not None
        enqueue(message)
        gc.collect()
        assert gone() is None
        db.session.rollback()


def test_the_signal_tells_the_new_emails_and_what_the_caller_gave(app: Flask) -> None:
    heard: list[dict[str, Any]] = []

    def hear(sender: Flask, **details: Any) -> None:
        heard.append(details | {"sender": sender})

    with email_enqueued.connected_to(hear), app.app_context():
        message = compose("a@example.com", "hi", "mail/welcome", name="A")
        message.cc.append("b@example.com")
        new = enqueue(message)
    assert heard == [{"sender": app, "message": message, "emails": new, "template": "mail/welcome", "context": {"name": "A"}}]
