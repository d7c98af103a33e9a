"""A sending that the server refuses for its content is held, and all other mail goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_outbox import BULK, URGENT, Email, Message, enqueue
from flask_outbox.store.models import Health
from flask_outbox.testing import SmtpServer
from flasky.extensions import db

if TYPE_CHECKING:
    from flask import Flask

pytestmark = pytest.mark.usefixtures("quiet")
Put, Read = "Callable[..., Email]", "Callable[[], Any]"
SPAM = "554 5.7.1 message 7ab31c rejected: looks like spam"
POLICY = "554 5.7.1 refused by policy"


def refuse(words: str, said: str) -> Any:
    """Refuse each message that holds *words*."""

    def answer(session: Any, usual: str) -> None:
        session.say(said if words.encode() in session.source else usual)

    return answer


def put_newsletter(count: int, *, key: str | None = "newsletter", first: int = 0) -> None:
    for number in range(first, first + count):
        message = Message("news", [f"{number}@example.com"], f"lottery {number}", sender="a@example.com")
        enqueue(message, key=key, priority=BULK)


@pytest.mark.parametrize("count", [5, 30])
def test_a_sending_that_is_refused_for_its_content_is_held_and_other_mail_goes_on(
    smtp: SmtpServer,
    put: Put,
    quiet: Flask,
    deliver: Read,
    statuses: Read,
    outcomes: Read,
    caplog: pytest.LogCaptureFixture,
    count: int,
) -> None:
    put_newsletter(count)
    put("urgent@example.com")
    smtp.on("DOT", refuse("lottery", SPAM), always=True)
    deliver()
    put("later@example.com", priority=BULK)
    deliver()
    assert statuses() == ["held"] * count + ["sent"] * 2
    assert outcomes().count(("refused", 554)) == 5
    emails = list(db.session.scalars(sa.select(Email).where(Email.status == "held")))
    assert {email.reply for email in emails} == {f"the server refuses this sending: {SPAM}"}
    assert {email.tries for email in emails} == {0}
    assert db.session.scalar(sa.select(Health)) is None
    assert f"its {count} emails are held" in caplog.text
    shown = quiet.test_cli_runner().invoke(args=["mail", "show", str(emails[-1].id)]).output
    assert f"held: the server refuses this sending: {SPAM}; flask mail retry queues it again" in shown


def test_one_message_for_many_is_a_sending_without_a_key(smtp: SmtpServer, put: Put, deliver: Read, statuses: Read) -> None:
    enqueue(Message("news", [f"{number}@example.com" for number in range(8)], "lottery", sender="a@example.com"))
    put("other@example.com")
    smtp.on("DOT", refuse("lottery", SPAM), always=True)
    deliver()
    assert statuses() == ["held"] * 8 + ["sent"]


def test_different_messages_that_are_refused_alike_for_their_content_stop_the_outbox(
    smtp: SmtpServer, deliver: Read, statuses: Read
) -> None:
    for number in range(6):
        put_newsletter(1, key=f"{number}", first=number)
    smtp.on("DOT", refuse("lottery", "554 5.7.1 refused by policy: spam"), always=True)
    deliver()
    assert statuses() == ["queued"] * 6
    assert db.session.scalars(sa.select(Health)).one().ours


def test_other_mail_in_between_makes_no_email_of_the_sending_fail(
    smtp: SmtpServer, put: Put, deliver: Read, statuses: Read, due: Read
) -> None:
    put_newsletter(3)
    put("other@example.com", priority=BULK)
    put_newsletter(7, first=3)
    smtp.on("DOT", refuse("lottery", SPAM), always=True)
    deliver()
    assert statuses() == ["held"] * 3 + ["sent"] + ["held"] * 7


def test_a_sending_is_held_too_if_the_words_are_unclear_and_other_mail_is_accepted(
    smtp: SmtpServer, put: Put, quiet: Flask, statuses: Read
) -> None:
    put_newsletter(12)
    smtp.on("DOT", refuse("lottery", POLICY), always=True)
    couriers = quiet.extensions["mail"].make_couriers()
    couriers.run()
    assert db.session.scalars(sa.select(Health)).one().ours
    assert statuses() == ["queued"] * 12
    put("urgent@example.com", priority=URGENT)
    quiet.extensions["mail"].end_pause()
    couriers.run()
    couriers.close()
    assert statuses() == ["held"] * 12 + ["sent"]


def test_what_is_enqueued_for_a_held_sending_is_held_at_once(
    smtp: SmtpServer, deliver: Read, statuses: Read, outcomes: Read
) -> None:
    put_newsletter(5)
    smtp.on("DOT", refuse("lottery", SPAM), always=True)
    deliver()
    put_newsletter(3, first=5)
    deliver()
    assert statuses() == ["held"] * 8
    assert len(outcomes()) == 6


def test_a_held_sending_that_the_operator_retries_is_sent_or_held_again(
    smtp: SmtpServer, deliver: Read, statuses: Read, quiet: Flask
) -> None:
    put_newsletter(7)
    smtp.on("DOT", refuse("lottery", SPAM), always=True)
    deliver()
    runner = quiet.test_cli_runner()
    assert "7 emails queued again" in runner.invoke(args=["mail", "retry", "--held"]).output
    deliver()
    assert statuses() == ["held"] * 7
    runner.invoke(args=["mail", "retry", "--held"])
    smtp.reset()
    deliver()
    assert statuses() == ["sent"] * 7


def test_one_email_of_an_accepted_sending_fails_alone(smtp: SmtpServer, deliver: Read, statuses: Read, due: Read) -> None:
    put_newsletter(8)
    smtp.on("DOT", refuse("lottery 3", SPAM), always=True)
    deliver()
    due()
    deliver()
    assert statuses() == ["sent"] * 3 + ["failed"] + ["sent"] * 4
