"""A state machine over the outbox: several workers, an operator, and a clock that moves as it likes."""

from __future__ import annotations

import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from flask_outbox.store import lease
from flask_outbox.store.database import clock
from flask_outbox.store.lease import LEASE, LeaseLost
from flask_outbox.store.models import Base, Status, contents, emails
from flask_outbox.store.operations import actions
from flask_outbox.store.outbox import Outbox, Try
from flasky import sqlite
from tests.chaos.conftest import LONG

NAMES = ("anna", "ben", "carl")
FINAL = {Status.SENT, Status.FAILED, Status.EXPIRED, Status.CANCELLED}
workers = st.sampled_from(NAMES)


class Clock:
    """The time of everybody: the database's, the operator's, and the one that leases are counted by."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self, *_: Any, **__: Any) -> datetime:
        return datetime(2026, 11, 23, tzinfo=UTC) + timedelta(seconds=self.seconds)


class OutboxMachine(RuleBasedStateMachine):
    """What each worker holds is remembered beside the database, and compared with it after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(lease, "time", self.clock)
        self.patch.setattr(clock, "host_now", self.clock.now)
        self.folder = Path(tempfile.mkdtemp(prefix="flasky-machine-"))
        self.engine = sa.create_engine(f"sqlite:///{self.folder / 'machine.sqlite3'}")
        sa.event.listen(self.engine, "connect", sqlite._on_connect)
        Base.metadata.create_all(self.engine)
        self.outboxes = {name: Outbox(self.engine, name) for name in NAMES}
        self.batches: dict[str, Any] = {}
        self.final: dict[int, str] = {}
        self.accepted: dict[int, int] = {}

    def teardown(self) -> None:
        """Whatever has happened, in the end everything can be brought to an end."""
        self.batches.clear()
        self.clock.seconds += 10 * 86400
        last = self.outboxes["anna"]
        last.recover()
        while (batch := last.claim()) is not None:
            for email in list(batch.open.values()):
                assert last.settle_sent(batch, email, self.attempt("sent"))
        assert {row.status for row in self.rows()} <= FINAL | {Status.HELD}
        for one in self.outboxes.values():
            one.close()
        self.engine.dispose()
        self.patch.undo()
        shutil.rmtree(self.folder)

    def rows(self) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(sa.select(emails).order_by(emails.c.id)))

    def attempt(self, outcome: str) -> Try:
        return Try(self.clock.now(), 0.1, outcome, 250, None, outcome)

    def is_live(self, name: str) -> bool:
        return name in self.batches and self.batches[name].age < LEASE.total_seconds()

    @initialize()
    def begin_with_mail_that_two_workers_have(self) -> None:
        for _ in range(6):
            self.put(priority=10, delay=0, expires=None)
        self.claim(name="anna", limit=2)
        self.claim(name="ben", limit=2)

    @rule(priority=st.sampled_from([0, 10, 20]), delay=st.sampled_from([0, 30, 4000]), expires=st.sampled_from([None, 100]))
    def put(self, priority: int, delay: int, expires: int | None) -> None:
        now = self.clock.now()
        with self.engine.begin() as connection:
            content = connection.execute(
                sa.insert(contents).values(
                    message_id="<1@a>", sender="a@a", subject="", source=b"x", size=1, secret=False, created_at=now
                )
            ).inserted_primary_key[0]
            send_at = now + timedelta(seconds=delay)
            expires_at = send_at + timedelta(seconds=expires) if expires else None
            times = {"send_at": send_at, "due_since": send_at, "expires_at": expires_at, "created_at": now}
            row = {"content_id": content, "recipient": "b@b", "status": "queued", "priority": priority, "tries": 0}
            connection.execute(sa.insert(emails).values(**row, **times))

    @rule(seconds=st.sampled_from([1, 20, 31, 59, 61, 200, 5000]))
    def time_passes(self, seconds: int) -> None:
        self.clock.seconds += seconds

    @rule(name=workers, limit=st.integers(1, 4))
    def claim(self, name: str, limit: int) -> None:
        if name in self.batches:
            return
        before = {row.id for row in self.rows() if row.status == "queued"}
        batch = self.outboxes[name].claim(limit)
        if batch is not None:
            assert set(batch.open) <= before
            assert len(batch.open) <= limit
            self.batches[name] = batch

    @precondition(lambda self: self.batches)
    @rule(sleeper=workers, other=workers)
    def oversleep(self, sleeper: str, other: str) -> None:
        """One worker is held up past its lease, and another takes over what it had."""
        if sleeper == other or sleeper not in self.batches:
            return
        self.batches.pop(other, None)
        self.clock.seconds += LEASE.total_seconds() + 1
        self.outboxes[other].recover()
        batch = self.outboxes[other].claim(4)
        if batch is not None:
            self.batches[other] = batch

    @precondition(lambda self: self.batches)
    @rule(name=workers, how=st.sampled_from(["sent", "refused", "deferred", "expired", "held", "postponed"]))
    def deliver_one(self, name: str, how: str) -> None:
        batch, box = self.batches.get(name), self.outboxes[name]
        if batch is None or not batch.open:
            return
        email = next(iter(batch.open.values()))
        mine = next(row for row in self.rows() if row.id == email.id).lease == batch.token
        live = self.is_live(name)
        try:
            box.guard(batch)
        except LeaseLost:
            assert not (mine and live)
            del self.batches[name]
            return
        assert mine, "a worker was about to transmit what another has"
        settle = {
            "sent": lambda: box.settle_sent(batch, email, self.attempt("sent")),
            "refused": lambda: box.settle_refused(batch, email, self.attempt("refused")),
            "deferred": lambda: box.settle_deferred(batch, email, self.attempt("deferred")),
            "expired": lambda: box.settle_expired(batch, email),
            "held": lambda: box.settle_held(batch, email, "held"),
            "postponed": lambda: box.postpone(batch, email, self.attempt("refused")),
        }
        if how == "sent":
            self.accepted[email.id] = self.accepted.get(email.id, 0) + 1
        assert settle[how]()

    @precondition(lambda self: self.batches)
    @rule(name=workers)
    def settle_without_looking(self, name: str) -> None:
        """A worker that woke up behind its last look at the lease records an acceptance unless another worker has the email."""
        batch = self.batches.get(name)
        if batch is None or not batch.open:
            return
        email = next(iter(batch.open.values()))
        before = next(row for row in self.rows() if row.id == email.id)
        settled = self.outboxes[name].settle_sent(batch, email, self.attempt("sent"))
        is_recorded = before.status == "sent" and before.finished_at == batch.now()
        assert settled == (before.lease == batch.token or before.status == "queued" or is_recorded)
        if not settled:
            after = next(row for row in self.rows() if row.id == email.id)
            assert (after.status, after.lease) == (before.status, before.lease)

    @rule(name=workers)
    def release(self, name: str) -> None:
        if name in self.batches:
            self.outboxes[name].release(self.batches.pop(name))

    @rule(name=workers)
    def die(self, name: str) -> None:
        self.batches.pop(name, None)

    @rule(name=workers)
    def recover(self, name: str) -> None:
        live = {row.id for row in self.rows() if any(self.is_live(one) and row.lease == self.batches[one].token for one in NAMES)}
        self.outboxes[name].recover()
        assert {row.id for row in self.rows() if row.status == "sending"} >= live

    @rule(number=st.integers(1, 6))
    def cancel(self, number: int) -> None:
        before = {row.id: row.status for row in self.rows()}.get(number)
        try:
            actions.cancel(self.engine, number)
        except actions.NotPossible:
            assert before not in {"queued", "held"}
        else:
            assert before in {"queued", "held"}

    @rule(number=st.integers(1, 6))
    def retry(self, number: int) -> None:
        before = {row.id: row.status for row in self.rows()}.get(number)
        try:
            actions.retry(self.engine, number)
        except actions.NotPossible:
            assert before in {None, "queued", "sending", "sent"}
        else:
            self.final.pop(number, None)

    @invariant()
    def no_row_has_two_live_leases(self) -> None:
        live = [self.batches[name] for name in NAMES if self.is_live(name)]
        open_ids = [number for batch in live for number in batch.open]
        assert len(set(open_ids)) == len(open_ids)

    @invariant()
    def a_final_state_is_final(self) -> None:
        now = {row.id: row.status for row in self.rows()}
        for number, status in self.final.items():
            assert now[number] == status
        self.final |= {number: status for number, status in now.items() if status in FINAL}

    @invariant()
    def what_is_being_sent_has_a_lease_and_nothing_else_has(self) -> None:
        for row in self.rows():
            assert (row.status == "sending") == (row.lease is not None) == (row.lease_until is not None)
            assert (row.status in FINAL) == (row.finished_at is not None)


TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(
    max_examples=2000 if LONG else 100,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
