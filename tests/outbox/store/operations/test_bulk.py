"""Actions on many emails: each exactly once, whoever acts beside it, and whatever dies in between."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_outbox import Email, Status
from flask_outbox.store.models import Attempt, Audit, AuditedEmail, Content
from flask_outbox.store.operations import bulk
from flask_outbox.store.operations.audit import record
from flask_outbox.store.operations.bulk import NoSuchAction, act, begin, step, stop
from flask_outbox.store.operations.operator import Operator
from flask_outbox.store.reading.search import NotUnderstood, parse
from flasky.extensions import db

if TYPE_CHECKING:
    from flask_outbox.testing import SmtpServer

pytestmark = pytest.mark.usefixtures("quiet")
SUSAN, BOB = Operator("susan", "192.0.2.1"), Operator("bob", "192.0.2.2")
COPY = "INSERT INTO mail_email ({names}) SELECT {names} FROM mail_email WHERE id = :model"


@pytest.fixture
def fill(put: Any) -> Any:
    """A function that puts many emails with a status into the outbox."""

    def fill(count: int, status: str = "failed", **options: Any) -> None:
        model = put(f"{status}@example.com", **options).id
        columns = [column.name for column in Email.__table__.columns if column.name != "id"]
        with db.engine.begin() as connection:
            is_failed = status == "failed"
            values = {"status": status, "failure": "550 no" if is_failed else None, "finished_at": datetime.now(UTC)}
            connection.execute(sa.update(Email).where(Email.id == model).values(values))
            copy = sa.text(COPY.format(names=", ".join(columns)))
            if count > 1:
                connection.execute(copy, [{"model": model}] * (count - 1))

    return fill


def audit(audit_id: int) -> Any:
    with db.engine.connect() as connection:
        return connection.execute(sa.select(Audit.__table__).where(Audit.id == audit_id)).one()


def audited(audit_id: int) -> list[int]:
    with db.engine.connect() as connection:
        return sorted(connection.scalars(sa.select(AuditedEmail.email_id).where(AuditedEmail.audit_id == audit_id)))


def having(status: str) -> list[int]:
    with db.engine.connect() as connection:
        return sorted(connection.scalars(sa.select(Email.id).where(Email.status == status)))


def run(audit_id: int, by: Operator = SUSAN) -> None:
    for _ in range(1000):
        step(db.engine, audit_id, by, 0)
        if audit(audit_id).finished_at:
            return
    pytest.fail("it never ends")


def test_chosen_emails_are_changed_at_once(put: Any, fill: Any) -> None:
    fill(2)
    sent = put()
    with db.engine.begin() as connection:
        connection.execute(sa.update(Email).where(Email.id == sent.id).values(status="sent"))
    audit_id = act(db.engine, "retry", [1, 2, sent.id, 4711], SUSAN)
    row = audit(audit_id)
    assert (row.actor, row.address, row.action, row.search) == ("susan", "192.0.2.1", "retry", None)
    assert (row.expected, row.changed) == (4, 2)
    assert row.finished_at is not None
    assert audited(audit_id) == having("queued") == [1, 2]


@pytest.mark.parametrize(
    ("action", "line", "before", "after"),
    [("retry", 'failure:"550 no"', "failed", "queued"), ("cancel", "to:queued@", "queued", "cancelled")],
)
def test_all_that_a_search_finds_is_changed_in_small_transactions(
    fill: Any, monkeypatch: Any, action: str, line: str, before: str, after: str
) -> None:
    monkeypatch.setattr(bulk, "CHUNK", 50)
    fill(130, before)
    fill(5, "sent")
    ids = having(before)
    audit_id = begin(db.engine, action, line, 130, SUSAN)
    assert step(db.engine, audit_id, SUSAN, 0) == 50
    assert len(having(after)) == audit(audit_id).changed == 50
    assert audit(audit_id).finished_at is None
    run(audit_id)
    assert audited(audit_id) == having(after) == ids
    assert (audit(audit_id).expected, audit(audit_id).changed) == (130, 130)
    assert len(having("sent")) == 5


def test_a_purge_deletes_what_is_finished_and_nothing_else(fill: Any) -> None:
    for status in ("sent", "failed", "queued"):
        fill(3, status)
    with db.engine.begin() as connection:
        values = {"started_at": datetime.now(UTC), "seconds": 1.0, "worker": "w", "outcome": "sent"}
        connection.execute(sa.insert(Attempt), [{"email_id": email_id} | values for email_id in having("sent")])
    gone = having("sent") + having("failed")
    audit_id = begin(db.engine, "purge", "", 6, SUSAN)
    run(audit_id)
    assert audited(audit_id) == gone
    assert len(having("queued")) == 3
    with db.engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(Attempt)) == 0
        assert connection.scalar(sa.select(sa.func.count()).select_from(Content)) == 1


def test_a_secret_is_erased_when_its_email_is_cancelled_and_never_sent_again(fill: Any) -> None:
    fill(3, "queued", secret=True)
    run(begin(db.engine, "cancel", "", 3, SUSAN))
    with db.engine.connect() as connection:
        assert connection.scalars(sa.select(Content.source)).all() == [None]
        assert bulk.count(connection, "retry", parse("", datetime.now(UTC)), 10).value == 0
    audit_id = begin(db.engine, "retry", "", 0, SUSAN)
    run(audit_id)
    assert audited(audit_id) == []
    assert len(having("cancelled")) == 3


def test_what_comes_after_the_preview_is_not_changed(fill: Any) -> None:
    fill(3)
    audit_id = begin(db.engine, "retry", "status:failed", 3, SUSAN)
    fill(2)
    run(audit_id)
    assert (len(having("queued")), len(having("failed"))) == (3, 2)


def test_ages_count_from_the_begin_of_an_action(fill: Any) -> None:
    fill(2)
    audit_id = begin(db.engine, "retry", "before:1h", 0, SUSAN)
    with db.engine.begin() as connection:
        connection.execute(sa.update(Email).values(created_at=datetime.now(UTC) - timedelta(hours=2)))
        connection.execute(sa.update(Audit).values(at=datetime.now(UTC) - timedelta(hours=5)))
    run(audit_id)
    assert len(having("failed")) == 2


def test_another_operator_may_go_on_and_the_audit_says_so(fill: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(bulk, "CHUNK", 1)
    fill(4)
    audit_id = begin(db.engine, "retry", "status:failed", 4, SUSAN)
    for by in (SUSAN, BOB, BOB):
        step(db.engine, audit_id, by, 0)
    assert audit(audit_id).detail == "continued by bob"
    stop(db.engine, audit_id, SUSAN)
    assert step(db.engine, audit_id, SUSAN, 0) == 0
    assert audit(audit_id).detail == "continued by bob; stopped by susan"
    assert (audit(audit_id).changed, len(having("failed"))) == (3, 1)


@pytest.mark.parametrize("same", [True, False])
def test_two_operators_at_the_same_moment_change_nothing_twice(fill: Any, monkeypatch: Any, same: bool) -> None:
    """They go on with the same action, or with two that find the same emails."""
    monkeypatch.setattr(bulk, "CHUNK", 7)
    fill(200)
    ids = having("failed")
    first = begin(db.engine, "retry", "status:failed", 200, SUSAN)
    second = first if same else begin(db.engine, "retry", 'failure:"550 no"', 200, BOB)
    engine, errors = db.engine, []

    def work(audit_id: int, by: Operator) -> None:
        try:
            step(engine, audit_id, by, 20)
        except Exception as error:  # noqa: BLE001 - it is looked at
            errors.append(error)

    threads = [threading.Thread(target=work, args=(first, SUSAN)), threading.Thread(target=work, args=(second, BOB))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    both = audited(first) if same else sorted(audited(first) + audited(second))
    assert both == having("queued") == ids
    assert sum(audit(one).changed for one in {first, second}) == 200


def test_workers_deliver_meanwhile_and_each_email_is_sent_or_cancelled(
    fill: Any, deliver: Any, monkeypatch: Any, smtp: SmtpServer
) -> None:
    monkeypatch.setattr(bulk, "CHUNK", 5)
    fill(200, "queued")
    worker = threading.Thread(target=deliver)
    worker.start()
    audit_id = begin(db.engine, "cancel", "", 200, SUSAN)
    run(audit_id)
    worker.join()
    deliver()
    assert audited(audit_id) == having("cancelled")
    assert len(smtp.accepted) == len(having("sent"))
    assert len(having("sent")) + len(having("cancelled")) == 200


KILLED = """
import sys, sqlalchemy as sa
from flask_outbox.store.operations import bulk, operator
bulk.CHUNK = 3
engine = sa.create_engine(sys.argv[1], connect_args={"timeout": 15} if sys.argv[1].startswith("sqlite") else {})
print("begins", flush=True)
while True:
    bulk.step(engine, int(sys.argv[2]), operator.Operator("bob", "192.0.2.2"), 0)
"""


def test_a_kill_in_between_leaves_an_action_that_can_be_continued(fill: Any) -> None:
    fill(600)
    ids = having("failed")
    audit_id = begin(db.engine, "retry", "status:failed", 600, SUSAN)
    url = db.engine.url.render_as_string(hide_password=False)
    with subprocess.Popen([sys.executable, "-c", KILLED, url, str(audit_id)], stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout
        assert killed.stdout.readline() == "begins\n"
        deadline = time.monotonic() + 20
        while audit(audit_id).changed < 30 and time.monotonic() < deadline:
            time.sleep(0.005)
        killed.kill()
    row = audit(audit_id)
    assert 30 <= row.changed < 600
    # What PostgreSQL had begun for the killed process may still be committed.
    run(audit_id)
    assert audited(audit_id) == having("queued") == ids
    assert audit(audit_id).changed == 600


def test_an_error_in_between_undoes_its_transaction_alone(fill: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(bulk, "CHUNK", 2)
    fill(6)
    audit_id = begin(db.engine, "retry", "status:failed", 6, SUSAN)
    step(db.engine, audit_id, SUSAN, 0)
    with monkeypatch.context() as patch:
        patch.setattr(bulk, "add_emails", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            step(db.engine, audit_id, SUSAN, 0)
    assert (audit(audit_id).changed, len(having("queued"))) == (2, 2)
    run(audit_id)
    assert audit(audit_id).changed == len(having("queued")) == 6


def test_a_wrong_search_begins_nothing() -> None:
    with pytest.raises(NotUnderstood):
        begin(db.engine, "retry", "status:sentt", 0, SUSAN)
    with db.engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(Audit)) == 0


def test_only_an_action_on_a_search_can_be_continued(fill: Any) -> None:
    fill(1)
    for audit_id in (act(db.engine, "retry", [1], SUSAN), 4711):
        for again in (lambda one: step(db.engine, one, SUSAN, 0), lambda one: stop(db.engine, one, SUSAN)):
            with pytest.raises(NoSuchAction, match="no action"):
                again(audit_id)


def test_a_count_is_of_what_the_action_can_change(fill: Any) -> None:
    fill(3)
    fill(2, "sent")
    query = parse("", datetime.now(UTC))
    with db.engine.connect() as connection:
        numbers = {action: bulk.count(connection, action, query, 10).value for action in bulk.KINDS}
    assert numbers == {"retry": 3, "cancel": 0, "purge": 5}


@pytest.mark.parametrize("strange", ["<script>alert(1)</script>", "'; DROP TABLE mail_audit; --", "x" * 5000, "\u202e ☃ \x1b[31m"])
def test_what_is_recorded_is_kept_as_it_is_and_cut_where_the_column_ends(strange: str) -> None:
    with db.engine.begin() as connection:
        audit_id = record(connection, actor=strange, address=strange, action="look", emails=[3, 1, 3], detail=strange)
    row = audit(audit_id)
    assert (row.actor, row.address, row.detail) == (strange[:200], strange[:100], strange)
    assert (row.expected, row.changed) == (2, 2)
    assert row.finished_at is not None
    assert audited(audit_id) == [1, 3]


def test_every_kind_of_action_names_statuses_that_exist() -> None:
    assert set(bulk.KINDS["purge"].statuses) == {status for status in Status if status.is_final}
