"""What is fixed when an email is enqueued: its Date and its envelope sender, the same for every copy and every try."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_outbox import Email, InvalidMessage, Message, enqueue
from flask_outbox.bulk.merge import MailMerge
from flask_outbox.bulk.recipients import Line
from flask_outbox.bulk.sending import Sending
from flask_outbox.store.operations.actions import retry
from flask_outbox.testing import reply
from flasky.extensions import db
from tests.lettered import with_letter

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from flask_outbox.testing import SmtpServer

TOMORROW = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)


def date(source: bytes | None) -> datetime:
    moment: datetime = message_from_bytes(source or b"", policy=policy.default)["Date"].datetime
    return moment


def test_scheduled_mail_has_the_date_on_which_it_goes_out(put: Callable[..., Email]) -> None:
    assert date(put(send_at=TOMORROW).content.source) == TOMORROW
    assert abs(date(put().content.source) - datetime.now(UTC)) < timedelta(minutes=1)
    assert abs(date(put(send_at=TOMORROW - timedelta(days=9)).content.source) - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_scheduled_sending_has_the_date_on_which_it_goes_out(quiet: Flask) -> None:
    with_letter(quiet)
    sending = Sending(db.engine, MailMerge("Hi", "mail/letter"), "a sending", send_at=TOMORROW)
    list(sending.run([Line("line 2", {"email": "a@b.example", "name": "Zoë", "number": "1"})]))
    assert date(db.session.scalars(sa.select(Email)).one().content.source) == TOMORROW


def test_every_try_sends_the_same_bytes_and_so_does_the_operator_s_retry(
    put: Callable[..., Email], deliver: Any, due: Any, smtp: SmtpServer
) -> None:
    smtp.on("DOT", reply("451 4.3.0 later"), reply("550 5.1.1 no such user"))
    email = put(send_at=TOMORROW)
    source = email.content.source
    for _ in range(2):
        due()
        deliver()
    db.session.expire_all()
    assert email.status == "failed"
    retry(db.engine, email.id)
    deliver()
    (accepted,) = smtp.accepted
    assert accepted.source == source
    assert date(source) == TOMORROW


def test_bounces_go_to_the_envelope_sender(quiet: Flask, deliver: Any, smtp: SmtpServer) -> None:
    message = Message("Hi", ["a@b.example", "c@b.example"], "text", sender="Me <me@b.example>")
    emails = enqueue(message, envelope_from=("Bounces", "bounces@b.example"))
    assert {email.content.sender for email in emails} == {"bounces@b.example"}
    deliver()
    assert {accepted.sender for accepted in smtp.wait_for(2)} == {"bounces@b.example"}
    assert smtp.accepted[0].message["From"] == "Me <me@b.example>"
    assert b"bounces" not in smtp.accepted[0].source
    assert emails[0].message_id.endswith("@b.example>")


def test_an_envelope_sender_that_is_no_address_is_refused(quiet: Flask, statuses: Any) -> None:
    with pytest.raises(InvalidMessage, match="envelope_from 'nobody' is not an email address"):
        enqueue(Message("Hi", ["a@b.example"], "text"), envelope_from="nobody")
    assert statuses() == []
