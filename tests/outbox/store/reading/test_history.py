"""The history of an email: what the app, the workers and the operators have done with it, on both databases."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_outbox import Message, enqueue
from flask_outbox.origin import Origin
from flask_outbox.store.models import Audit, Content, audited, audits
from flask_outbox.store.operations.actions import NotPossible
from flask_outbox.store.operations.again import send_again, send_copy
from flask_outbox.store.operations.operator import NOTED_FOR, Operator, cancel_one, note_read, retry_one
from flask_outbox.store.reading import history
from flask_outbox.store.reading.history import read_events, timeline
from flask_outbox.store.reading.one import is_erased, load_email, load_source
from flask_outbox.testing import SmtpServer, reply
from flasky.extensions import db

if TYPE_CHECKING:
    from flask import Flask

pytestmark = pytest.mark.usefixtures("quiet")
Put, Read = "Callable[..., Email]", "Callable[[], Any]"
SUSAN, ORIGIN = Operator("susan", "192.0.2.1"), Origin("r-1", "POST /desk")


def told(email_id: int) -> list[str]:
    with Session(db.engine) as session:
        email = load_email(session, email_id)
        assert email is not None
        return [f"{event.what} {event.other or ''}{event.said}".strip() for event in read_events(session, email)]


def test_the_history_goes_from_the_request_to_the_last_word(quiet: Flask, deliver: Read, smtp: SmtpServer) -> None:
    quiet.add_url_rule("/orders/<int:number>", view_func=lambda number: str(_enqueue()[0].id), methods=["POST"])

    def _enqueue() -> Any:
        return enqueue(Message("hi", ["b@example.com"], "text", sender="a@example.com"))

    quiet.config["WTF_CSRF_ENABLED"] = False
    quiet.test_client().post("/orders/4711", headers={"X-Request-ID": "req-7"})
    smtp.on("RCPT", reply("550 5.1.1 no such user"))
    deliver()
    retry_one(db.engine, 1, SUSAN)
    deliver()
    events = told(1)
    assert events[0] == "Put into the outbox by POST /orders/<int:number>, request req-7"
    assert events[1] == "Refused by the mail server 550 5.1.1 no such user"
    assert events[2] == "susan queued it again"
    assert events[3].startswith("Accepted by the mail server 250 ")
    assert len(events) == 4


def test_the_command_line_tells_it_too(put: Put, deliver: Read) -> None:
    put()
    cancel_one(db.engine, 1, SUSAN)
    with Session(db.engine) as session:
        email = load_email(session, 1)
        assert email is not None
        lines = [what for _, what in timeline(email)]
    assert lines[0].startswith("put into the outbox")
    assert lines[1] == "susan cancelled it"
    assert lines[-1].startswith("cancelled: ")


def test_what_was_sent_again_names_the_old_one_and_the_old_one_names_it(put: Put, deliver: Read, smtp: SmtpServer) -> None:
    put("Susan@example.com", priority=20)
    deliver()
    assert send_again(db.engine, 1, SUSAN, ORIGIN) == 2
    deliver()
    assert told(1)[-1] == "susan sent it again, as 2"
    assert told(2)[1] == "susan sent this again: it is a copy of 1"
    assert told(2)[0] == "Put into the outbox by POST /desk, request r-1"
    first, second = (accepted.source for accepted in smtp.accepted)
    assert first.partition(b"\r\n\r\n")[2] == second.partition(b"\r\n\r\n")[2]
    with Session(db.engine) as session:
        old, new = load_email(session, 1), load_email(session, 2)
        assert old is not None
        assert new is not None
        assert (new.recipient, new.recipient_lower, new.priority) == ("Susan@example.com", "susan@example.com", 20)
        assert new.message_id != old.message_id
        assert new.message_id.encode() in second
        assert new.message_id.encode() not in first


def test_a_copy_goes_to_the_operator_and_says_so(put: Put, deliver: Read, smtp: SmtpServer) -> None:
    put()
    assert send_copy(db.engine, 1, SUSAN, ORIGIN, "operator@example.com") == 2
    assert send_copy(db.engine, 2, SUSAN, ORIGIN, "operator@example.com") == 3
    deliver()
    assert sorted(accepted.recipient for accepted in smtp.accepted) == [
        "b@example.com",
        "operator@example.com",
        "operator@example.com",
    ]
    with Session(db.engine) as session:
        subjects = session.scalars(sa.select(Content.subject).order_by(Content.id)).all()
    assert subjects == ["hi", "[copy] hi", "[copy] hi"]
    assert "susan sent a copy to themselves, as 2" in told(1)


@pytest.mark.parametrize("is_sent", [True, False])
def test_a_secret_email_is_neither_sent_again_nor_copied(put: Put, deliver: Read, is_sent: bool) -> None:
    put(secret=True)
    if is_sent:
        deliver()
    for action in (
        lambda: send_again(db.engine, 1, SUSAN, ORIGIN),
        lambda: send_copy(db.engine, 1, SUSAN, ORIGIN, "o@example.com"),
    ):
        with pytest.raises(NotPossible, match="it is secret"):
            action()
    with Session(db.engine) as session:
        email = load_email(session, 1)
        assert email is not None
        assert load_source(session, email) is None
        assert is_erased(session, email) is is_sent
        assert not session.scalars(sa.select(Audit)).all()


def test_what_was_not_sent_is_not_sent_again(put: Put) -> None:
    put()
    with pytest.raises(NotPossible, match="it is queued, and was not sent yet"):
        send_again(db.engine, 1, SUSAN, ORIGIN)
    with pytest.raises(NotPossible, match="there is no email 4711"):
        send_again(db.engine, 4711, SUSAN, ORIGIN)


def test_an_action_that_is_impossible_is_not_in_the_audit(put: Put) -> None:
    put()
    with pytest.raises(NotPossible):
        retry_one(db.engine, 1, SUSAN)
    with db.engine.connect() as connection:
        assert connection.execute(sa.select(audits)).all() == []


def test_reading_is_noted_once_an_hour_for_each_operator_and_email(put: Put) -> None:
    put()
    put()
    for _ in range(3):
        note_read(db.engine, 1, SUSAN)
    note_read(db.engine, 2, SUSAN)
    note_read(db.engine, 1, Operator("ada", "192.0.2.2"))
    with db.engine.begin() as connection:
        assert connection.execute(sa.select(audited.c.email_id).order_by(audited.c.audit_id)).scalars().all() == [1, 2, 1]
        rows = connection.execute(sa.select(audits.c.actor, audits.c.address, audits.c.action).order_by(audits.c.id)).all()
        assert rows == [("susan", "192.0.2.1", "read")] * 2 + [("ada", "192.0.2.2", "read")]
        at = connection.scalars(sa.select(audits.c.at).order_by(audits.c.id)).first()
        connection.execute(sa.update(audits).values(at=at - NOTED_FOR - timedelta(seconds=1)))
    note_read(db.engine, 1, SUSAN)
    assert told(1).count("susan read the message") == 2


def test_a_long_history_is_cut_at_its_beginning(put: Put, deliver: Read, monkeypatch: pytest.MonkeyPatch, smtp: SmtpServer) -> None:
    monkeypatch.setattr(history, "MOST_ATTEMPTS", 2)
    put()
    smtp.on("RCPT", reply("550 5.1.1 first"), reply("550 5.1.1 second"), reply("550 5.1.1 third"))
    for _ in range(3):
        deliver()
        retry_one(db.engine, 1, SUSAN)
    assert [event.split()[-1] for event in told(1) if event.startswith("Refused")] == ["second", "third"]
