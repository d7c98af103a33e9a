"""What becomes of refused emails: refusals of us, and refusals that leave open whose matter they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_outbox import URGENT, Email, Message, enqueue
from flask_outbox.store.models import Health
from flask_outbox.testing import SmtpServer, reply, slow
from flasky.extensions import db

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

pytestmark = pytest.mark.usefixtures("quiet")
Put, Read = "Callable[..., Email]", "Callable[[], Any]"


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        ("MAIL", "530 5.7.0 Authentication required"),
        ("MAIL", "550 5.1.8 bad sender"),
        ("RCPT", "554 5.7.1 <b@example.com>: Relay access denied"),
        ("RCPT", "550 5.7.1 <a@example.com>: Sender address rejected: not logged in"),
        ("DOT", "550 5.7.60 SMTP; Client does not have permissions to send as this sender"),
    ],
)
def test_a_refusal_of_us_fails_nothing(
    smtp: SmtpServer, put: Put, deliver: Read, statuses: Read, due: Read, stage: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(4):
        put()
    smtp.on(stage, reply(said), always=True)
    deliver()
    assert statuses() == ["queued"] * 4
    assert db.session.scalars(sa.select(Health)).one().ours
    assert "our own configuration" in caplog.text
    assert "b@example.com" not in caplog.text
    smtp.reset()
    due()
    deliver()
    assert statuses() == ["sent"] * 4


UNCLEAR = "554 5.7.1 message 7ab31c refused by policy for <{}>"


def refuse(*recipients: str) -> Any:
    """Answer to some recipients with a refusal that does not say whose fault it is."""

    def behave(session: Any, usual: str) -> None:
        last = session.recipients[-1]
        session.say(UNCLEAR.format(last) if last.partition("@")[0] in recipients else usual)

    return behave


def test_the_same_refusal_for_five_recipients_stops_the_outbox_and_fails_nothing(
    smtp: SmtpServer, put: Put, deliver: Read, statuses: Read, outcomes: Read, due: Read
) -> None:
    for number in range(7):
        put(f"{number}@example.com")
    smtp.on("RCPT", refuse(*"0123456"), always=True)
    deliver()
    assert statuses() == ["queued"] * 7
    assert outcomes() == [("refused", 554)] * 5
    assert "the same again and again" in db.session.scalars(sa.select(Health)).one().reason
    assert [email.tries for email in db.session.scalars(sa.select(Email))] == [0] * 7
    smtp.reset()
    due()
    deliver()
    assert statuses() == ["sent"] * 7


def test_an_acceptance_in_between_fails_the_refused_emails(
    smtp: SmtpServer, put: Put, deliver: Read, statuses: Read, due: Read
) -> None:
    for number in range(8):
        put(f"{number}@example.com")
    smtp.on("RCPT", refuse(*"0123567"), always=True)
    deliver()
    # Nothing was accepted after the last three: they get a second opinion.
    assert statuses() == ["failed"] * 4 + ["sent"] + ["queued"] * 3
    put("4@example.com")
    due()
    deliver()
    assert statuses() == ["failed"] * 4 + ["sent"] + ["failed"] * 3 + ["sent"]


def test_emails_that_are_refused_twice_do_not_fail_while_the_server_accepts_nothing(
    smtp: SmtpServer, put: Put, deliver: Read, statuses: Read, due: Read
) -> None:
    """A limit, say, in words that nobody knows: each deliver() here is a new worker, which remembers nothing."""
    smtp.on("DOT", reply("550 come back when you have a better plan"), always=True)
    for number in range(3):
        put(f"{number}@example.com")
    for _ in range(3):
        deliver()
        due()
    deliver()
    assert statuses() == ["queued"] * 3
    assert [email.tries for email in db.session.scalars(sa.select(Email))] == [0] * 3
    assert db.session.scalars(sa.select(Health)).one().ours
    smtp.reset()
    due()
    deliver()
    assert statuses() == ["sent"] * 3


def test_an_email_that_was_deferred_before_gets_a_second_opinion_too(
    smtp: SmtpServer, put: Put, quiet: Flask, deliver: Read, statuses: Read, outcomes: Read, due: Read
) -> None:
    put("0@example.com", priority=URGENT)
    smtp.on("RCPT", reply("451 4.7.1 greylisted"))
    deliver()
    due()
    put("1@example.com")
    smtp.on("RCPT", refuse("0"), always=True)
    couriers = quiet.extensions["mail"].make_couriers()
    # Its batch ends with other mail due.
    couriers._first.size = 1
    couriers.run()
    couriers.close()
    assert statuses() == ["queued", "sent"]
    due()
    deliver()
    assert statuses() == ["failed", "sent"]
    assert outcomes() == [("deferred", 451), ("refused", 554), ("sent", 250), ("refused", 554)]


def test_a_limit_fails_nothing_and_costs_no_try_however_often_the_worker_restarts(
    smtp: SmtpServer, put: Put, deliver: Read, statuses: Read, outcomes: Read, due: Read
) -> None:
    smtp.on("DOT", reply("550 5.4.5 Daily user sending limit exceeded"), always=True)
    for number in range(4):
        put(f"{number}@example.com")
    for _ in range(3):
        deliver()
        due()
    assert statuses() == ["queued"] * 4
    assert {email.tries for email in db.session.scalars(sa.select(Email))} == {0}
    assert set(outcomes()) == {("unavailable", 550)}


def test_a_deferral_does_not_say_that_the_server_works(smtp: SmtpServer, put: Put, quiet: Flask, statuses: Read) -> None:
    put("0@example.com")
    put("1@example.com")
    couriers = quiet.extensions["mail"].make_couriers()
    smtp.on("MAIL", *[reply("421 4.3.2 going down")] * 2)
    couriers.run()
    assert db.session.scalar(sa.select(Health)) is not None
    with db.engine.begin() as connection:
        connection.execute(sa.update(Health).values(next_try_at=Health.since))
    smtp.on("MAIL", reply("451 4.3.0 later"))
    couriers.run()
    db.session.rollback()
    assert db.session.scalar(sa.select(Health)) is not None
    put("2@example.com")
    couriers.run()
    couriers.close()
    db.session.rollback()
    assert statuses() == ["queued", "queued", "sent"]
    assert db.session.scalar(sa.select(Health)) is None


def test_one_recipient_refused_five_times_stops_nothing(smtp: SmtpServer, put: Put, deliver: Read, statuses: Read) -> None:
    for _ in range(6):
        put("0@example.com")
    put("1@example.com")
    smtp.on("RCPT", refuse("0"), always=True)
    deliver()
    assert statuses() == ["failed"] * 6 + ["sent"]


def test_any_number_of_dead_addresses_fail_and_stop_nothing(smtp: SmtpServer, put: Put, deliver: Read, statuses: Read) -> None:
    for number in range(6):
        put(f"{number}@example.com")
    smtp.on("RCPT", reply("550 5.1.1 no such user"), always=True)
    deliver()
    assert statuses() == ["failed"] * 6


@pytest.mark.parametrize(("extension", "recipient"), [("SIZE 20000", "{}@example.com"), ("HELP", "zoë{}@example.com")])
def test_what_we_refuse_for_the_server_fails_at_once_and_stops_nothing(
    smtp: SmtpServer, put: Put, deliver: Read, statuses: Read, extension: str, recipient: str
) -> None:
    smtp.extensions[:] = ["PIPELINING", extension]
    for number in range(6):
        enqueue(Message("hi", [recipient.format(number)], "large " * 5000, sender="a@example.com"))
    put("small@example.com")
    assert deliver() == 7
    assert statuses() == ["failed"] * 6 + ["sent"]
    assert db.session.scalar(sa.select(Health)) is None


def test_what_was_sent_before_the_server_stopped_is_counted(smtp: SmtpServer, put: Put, deliver: Read, statuses: Read) -> None:
    for number in range(5):
        put(f"{number}@example.com")
    smtp.on("DATA", *[slow(0)] * 3)
    smtp.on("DATA", reply("421 4.3.2 going down"), always=True)
    assert deliver() == 3
    assert statuses() == ["sent"] * 3 + ["queued"] * 2


def test_a_run_of_refusals_goes_on_from_batch_to_batch(smtp: SmtpServer, put: Put, statuses: Read, quiet: Flask) -> None:
    smtp.on("RCPT", refuse(*"01234"), always=True)
    delivery = quiet.extensions["mail"].make_couriers()
    for number in range(5):
        put(f"{number}@example.com")
        delivery.run()
    delivery.close()
    # One alone is believed; from the second on it may be the beginning of a row.
    assert statuses() == ["failed"] + ["queued"] * 4
    assert "the same again and again" in db.session.scalars(sa.select(Health)).one().reason


def test_a_run_of_refusals_fails_nothing_when_each_batch_has_one_email(make_app: Callable[..., Flask], smtp: SmtpServer) -> None:
    app = make_app(mail_rate="1000 per second")
    app.extensions["mail"].bell.ring = lambda: None
    with app.app_context():
        for number in range(8):
            enqueue(Message("hi", [f"{number}@example.com"], "text", sender="a@example.com"))
        smtp.on("RCPT", refuse(*"01234567"), always=True)
        app.extensions["mail"].deliver()
        assert {email.status for email in db.session.scalars(sa.select(Email))} == {"queued"}
        assert "the same again and again" in db.session.scalars(sa.select(Health)).one().reason


@pytest.mark.parametrize(
    ("stage", "said"), [("MAIL", "550 5.7.1 sender rejected"), ("RCPT", "421 4.7.0 go away"), ("DOT", "421 4.7.0 go away")]
)
def test_an_email_that_always_stops_the_server_does_not_block_the_others(
    smtp: SmtpServer, put: Put, deliver: Read, statuses: Read, stage: str, said: str
) -> None:
    def stop_at_zero(session: Any, usual: str) -> None:
        session.say(said if "0@example.com" in (session.sender, *session.recipients) else usual)

    enqueue(Message("hi", ["0@example.com"], "text", sender="0@example.com"))
    for number in range(1, 4):
        put(f"{number}@example.com")
    smtp.on(stage, stop_at_zero, always=True)
    deliver()
    with db.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM mail_health"))
    deliver()
    assert statuses() == ["queued", "sent", "sent", "sent"]


@pytest.mark.parametrize("said", ["421 4.7.0 go away", "530 5.7.0 Authentication required"])
def test_an_email_that_always_stops_the_server_fails_past_its_life(
    smtp: SmtpServer, put: Put, deliver: Read, statuses: Read, said: str
) -> None:
    put()
    with db.engine.begin() as connection:
        connection.execute(sa.update(Email).values(due_since=datetime.now(UTC) - timedelta(days=3, seconds=1)))
    smtp.on("MAIL", reply(said), always=True)
    deliver()
    assert statuses() == ["failed"]
