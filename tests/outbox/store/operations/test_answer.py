"""The answer to "did she get the email?": one sentence for each status, and what comes next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from flask_outbox import Email, Status
from flask_outbox.store.models import Content
from flask_outbox.store.operations.answer import Answer, answer
from flask_outbox.store.operations.history import OUTCOMES, Event

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
BEFORE, LATER = NOW - timedelta(minutes=2), NOW + timedelta(minutes=4)
ENQUEUED = Event(BEFORE, "Put into the outbox", "enqueued")


def tried(outcome: str, said: str = "451 later") -> Event:
    return Event(BEFORE, OUTCOMES[outcome], outcome, said, 0.1, "w")


def done(what: str) -> Event:
    return Event(BEFORE, f"susan {what}", "operator")


def email(status: str, **columns: object) -> Email:
    usual = {"recipient": "ada@example.org", "send_at": BEFORE, "due_since": BEFORE, "finished_at": BEFORE}
    return Email(status=status, content=Content(sender="shop@example.com"), **usual | columns)


SITUATIONS = {
    "waits": (email("queued"), [], "wait", "Not yet: it waits for a worker", BEFORE, "", "as soon as a worker is free", None),
    "scheduled": (email("queued", send_at=LATER), [], "wait", "scheduled for later", None, "", "It goes out", LATER),
    "deferred": (email("queued", send_at=LATER), [tried("deferred")], "wait", "put it off", BEFORE, "451 later", "tried again", LATER),  # noqa: E501 - a row of the table
    "due again": (email("queued"), [tried("deferred")], "wait", "put it off", BEFORE, "451 later", "as soon as", None),
    "slowed": (email("queued", send_at=LATER), [tried("throttled")], "wait", "slow down", BEFORE, "451 later", "tried again", LATER),  # noqa: E501 - a row of the table
    "broke": (email("queued", send_at=LATER), [tried("uncertain")], "wait", "Perhaps: the connection broke", BEFORE, "451 later", "tried", LATER),  # noqa: E501 - a row of the table
    "no server": (email("queued"), [tried("unavailable")], "wait", "could not be used", BEFORE, "451 later", "as soon as", None),
    "retried": (
        email("queued"), [tried("refused"), done("queued it again")], "wait", "it was queued again", BEFORE, "", "as soon as", None
    ),
    "retried and put off": (
        email("queued", send_at=LATER), [done("queued it again"), tried("deferred")], "wait", "put it off", BEFORE, "451 later", "tried", LATER  # noqa: E501 - a row of the table
    ),
    "read meanwhile": (
        email("queued", send_at=LATER), [tried("deferred"), done("read the message")], "wait", "put it off", BEFORE, "451 later", "tried", LATER  # noqa: E501 - a row of the table
    ),
    "sending": (email("sending", lease_until=LATER), [], "wait", "a worker is sending it", None, "", "another one takes over", LATER),  # noqa: E501 - a row of the table
    "held": (email("held", reply="MAIL_ALLOW_TO"), [], "wait", "No: it is held back", None, "MAIL_ALLOW_TO", "retries or cancels", None),  # noqa: E501 - a row of the table
    "sent": (email("sent", reply="250 ok"), [tried("sent")], "good", "has accepted it", BEFORE, "250 ok", "example.org knows", None),  # noqa: E501 - a row of the table
    "refused": (email("failed", reply="550 no"), [tried("refused")], "bad", "No: the mail server has refused it", BEFORE, "550 no", "not", None),  # noqa: E501 - a row of the table
    "given up": (email("failed", reply="451 x"), [tried("deferred")], "bad", "it was given up", BEFORE, "451 x", "not tried again", None),  # noqa: E501 - a row of the table
    "expired": (email("expired", expires_at=NOW), [], "bad", "before it expired", NOW, "", "not sent any more", None),
    "cancelled": (email("cancelled"), [], "bad", "No: an operator cancelled it", BEFORE, "", "It is not sent", None),
    "cancelled by": (email("cancelled"), [done("cancelled it")], "bad", "No: susan cancelled it", BEFORE, "", "It is not sent", None),  # noqa: E501 - a row of the table
}  # fmt: skip


@pytest.mark.parametrize("situation", SITUATIONS.values(), ids=SITUATIONS)
def test_every_situation_has_its_answer(situation: tuple) -> None:
    shown, events, mood, what, at, said, then, due = situation
    found = answer(shown, [ENQUEUED, *events], NOW)
    assert found == Answer(mood, found.what, at, said, found.then, due)
    assert what in found.what
    assert then in found.then


def test_no_status_is_left_out() -> None:
    assert {shown.status for shown, *_ in SITUATIONS.values()} == set(Status)
