"""The answer to "did she get the email?": one sentence for each status, and what comes next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from flask_outbox import Email, Status
from flask_outbox.store.models import Content
from flask_outbox.store.reading.answer import Answer, answer
from flask_outbox.store.reading.history import OUTCOMES, Event

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
BEFORE, LATER = NOW - timedelta(minutes=2), NOW + timedelta(minutes=4)
ENQUEUED = Event(BEFORE, "Put into the outbox", "enqueued")


LATE = "451 later"


def tried(outcome: str, said: str = LATE) -> Event:
    return Event(BEFORE, OUTCOMES[outcome], outcome, said, 0.1, "w")


def done(what: str) -> Event:
    return Event(BEFORE, f"susan {what}", "operator")


def email(status: str, **columns: object) -> Email:
    usual = {"recipient": "ada@example.org", "send_at": BEFORE, "due_since": BEFORE, "finished_at": BEFORE}
    return Email(status=status, content=Content(sender="shop@example.com"), **usual | columns)


WAIT, BAD = "wait", "bad"
PUT_OFF = [tried("deferred")]
soon, due = email("queued", send_at=LATER), email("queued")
SITUATIONS = {
    "waits": (due, [], WAIT, "Not yet: it waits for a worker", BEFORE, "", "as soon as a worker is free", None),
    "scheduled": (soon, [], WAIT, "scheduled for later", None, "", "It goes out", LATER),
    "deferred": (soon, PUT_OFF, WAIT, "put it off", BEFORE, LATE, "tried again", LATER),
    "due again": (due, PUT_OFF, WAIT, "put it off", BEFORE, LATE, "as soon as", None),
    "slowed": (soon, [tried("throttled")], WAIT, "slow down", BEFORE, LATE, "tried again", LATER),
    "broke": (soon, [tried("uncertain")], WAIT, "Perhaps: the connection broke", BEFORE, LATE, "tried", LATER),
    "no server": (due, [tried("unavailable")], WAIT, "could not be used", BEFORE, LATE, "as soon as", None),
    "retried": (due, [tried("refused"), done("queued it again")], WAIT, "it was queued again", BEFORE, "", "as soon as", None),
    "retried and put off": (soon, [done("queued it again"), tried("deferred")], WAIT, "put it off", BEFORE, LATE, "tried", LATER),
    "read meanwhile": (soon, [tried("deferred"), done("read the message")], WAIT, "put it off", BEFORE, LATE, "tried", LATER),
    "sending": (email("sending", lease_until=LATER), [], WAIT, "a worker is sending it", None, "", "another one takes over", LATER),
    "held": (
        email("held", reply="MAIL_ALLOW_TO"),
        [],
        WAIT,
        "No: it is held back",
        None,
        "MAIL_ALLOW_TO",
        "retries or cancels",
        None,
    ),
    "sent": (
        email("sent", reply="250 ok"),
        [tried("sent")],
        "good",
        "has accepted it",
        BEFORE,
        "250 ok",
        "example.org knows",
        None,
    ),
    "refused": (
        email("failed", reply="550 no"),
        [tried("refused")],
        BAD,
        "No: the mail server has refused it",
        BEFORE,
        "550 no",
        "not",
        None,
    ),
    "given up": (email("failed", reply="451 x"), PUT_OFF, BAD, "it was given up", BEFORE, "451 x", "not tried again", None),
    "expired": (email("expired", expires_at=NOW), [], BAD, "before it expired", NOW, "", "not sent any more", None),
    "cancelled": (email("cancelled"), [], BAD, "No: an operator cancelled it", BEFORE, "", "It is not sent", None),
    "cancelled by": (email("cancelled"), [done("cancelled it")], BAD, "No: susan cancelled it", BEFORE, "", "It is not sent", None),
}


@pytest.mark.parametrize("situation", SITUATIONS.values(), ids=SITUATIONS)
def test_every_situation_has_its_answer(situation: tuple) -> None:
    shown, events, mood, what, at, said, then, due = situation
    found = answer(shown, [ENQUEUED, *events], NOW)
    assert found == Answer(mood, found.what, at, said, found.then, due)
    assert what in found.what
    assert then in found.then


def test_no_status_is_left_out() -> None:
    assert {shown.status for shown, *_ in SITUATIONS.values()} == set(Status)
