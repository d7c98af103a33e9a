"""The fixture outbox: what it holds in each state of the test's transaction, and how it delivers."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from flask_outbox import Attachment, Message, compose, email_enqueued, enqueue, send_email
from flask_outbox.store.transaction import WORK
from flask_outbox.testing import RecordedOutbox
from tests.outbox.testing.host import User, db, greet, in_database, recipients

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask


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


def test_an_address_beyond_ascii_and_bounces_elsewhere_do_not_change_who_it_is_from_and_to(
    app: Flask, outbox: RecordedOutbox
) -> None:
    with app.app_context():
        message = Message("hi", ["zoë@example.com"], "text", sender="Me <mé@example.com>")
        enqueue(message, envelope_from="bounces@example.com")
    email = outbox.to("zoë@example.com").one()
    assert (email.sender, email.recipients) == ("mé@example.com", ["zoë@example.com"])


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
        greet("susan")
        assert outbox.one().status == "queued"
        assert not db.session.info.get(WORK)
        db.session.scalars(sa.select(User)).all()
        assert outbox.one().status == "queued"
        with db.engine.begin() as another:
            another.execute(sa.insert(User).values(name="ann"))


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
        greet("susan")
        db.session.commit()
        db.session.add(User(name="susan"))
        greet("ann")
        with pytest.raises(IntegrityError):
            db.session.flush()
        assert recipients(outbox) == ["susan@example.com"]


def test_the_same_key_again_is_no_new_email(app: Flask, outbox: RecordedOutbox) -> None:
    with app.app_context():
        for _ in range(2):
            enqueue(compose("a@example.com", "hi", "mail/bye"), key="once")
    assert len(outbox) == 1


def test_another_app_and_another_test_are_not_recorded(app: Flask, outbox: RecordedOutbox, make_host: Callable[..., Flask]) -> None:
    other = make_host(app.config["SQLALCHEMY_DATABASE_URI"])
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
