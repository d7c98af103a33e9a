"""An operator's actions on several emails: on chosen ones at once, and on all that a search finds in many small transactions.

Those go from the largest id down, and the audit says how far they have come. So such an action can be continued after a kill or a
closed browser, also by two operators at the same moment, and no email is changed twice. Each email that it has changed is written
to the audit in the same transaction.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from ...events import facts
from ..database.clock import database_now
from ..database.sqlite_lock import take_write_lock
from ..models import Status, audits, emails
from ..reading.search import Search, condition, parse
from .actions import FINISHED, RETRIABLE, WAITING, cancel_where, purge_where, retry_where
from .audit import add_emails, record

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from sqlalchemy.engine import Connection, Engine

    from ...events import Event
    from ..reading.search import Number, Query
    from .operator import Operator

log = logging.getLogger(__name__)

# In one transaction: SQLite's write lock is then held for 20 ms.
CHUNK = 500
# The longest that one search for the next emails takes, in seconds.
SEARCH = 0.2


class Kind(NamedTuple):
    """What an action does: *apply* changes the emails that meet a condition, among those with one of *statuses*.

    *event* is what the log calls it.
    """

    event: Event
    apply: Callable[[Connection, sa.ColumnElement[bool]], list[int]]
    statuses: tuple[Status, ...]
    needs_body: bool = False

    def narrow(self, query: Query) -> Query:
        """Return the query for the emails that the action can change."""
        return query.narrowed(self.statuses, with_body=self.needs_body)


KINDS = {
    "retry": Kind("retried", retry_where, tuple(map(Status, RETRIABLE)), needs_body=True),
    "cancel": Kind("cancelled", cancel_where, tuple(map(Status, WAITING))),
    "purge": Kind("purged", purge_where, tuple(map(Status, FINISHED))),
}


class NoSuchAction(Exception):  # noqa: N818 - not an error of ours, but an answer to the operator
    """The audit has no action with this id that could be continued."""


def act(engine: Engine, action: str, ids: Collection[int], by: Operator) -> int:
    """Do *action* to the emails with these *ids*, as far as each can be changed, and return the action's id in the audit."""
    with engine.begin() as connection:
        take_write_lock(connection)
        changed = KINDS[action].apply(connection, emails.c.id.in_(sorted(ids)))
        audit_id = record(connection, actor=by.name, address=by.address, action=action, emails=changed)
        connection.execute(sa.update(audits).where(audits.c.id == audit_id).values(expected=len(set(ids))))
    _log(KINDS[action].event, changed)
    return audit_id


def begin(engine: Engine, action: str, line: str, expected: int, by: Operator) -> int:
    """Record that *action* is to be done to all emails that the search *line* finds now, and return its id in the audit.

    *expected* is how many the operator has been told. Nothing is changed before ``step``. Raises NotUnderstood.
    """
    with engine.begin() as connection:
        take_write_lock(connection)
        now = database_now(connection)
        parse(line, now)
        audit_id = record(connection, actor=by.name, address=by.address, action=action, search=line)
        newest = connection.scalar(sa.select(sa.func.max(emails.c.id))) or 0
        # Ages in the line count from this moment, however long the action takes.
        values = {"first_id": newest, "expected": expected, "at": now}
        connection.execute(sa.update(audits).where(audits.c.id == audit_id).values(values))
    return audit_id


def step(engine: Engine, audit_id: int, by: Operator, seconds: float) -> int:
    """Go on with an action for about *seconds*, and return how many emails that has changed; it may raise NoSuchAction."""
    deadline, changed = time.monotonic() + seconds, 0
    while True:
        row = _read(engine, audit_id)
        if row.finished_at is not None:
            return changed
        changed += _change_some(engine, row, by)
        if time.monotonic() >= deadline:
            return changed


def run(engine: Engine, action: str, line: str, expected: int, by: Operator) -> int:
    """Begin an action on all emails that the search *line* finds now, work it off, and return how many it has changed."""
    return step(engine, begin(engine, action, line, expected, by), by, float("inf"))


def stop(engine: Engine, audit_id: int, by: Operator) -> None:
    """End an action before it has come to its end; raise NoSuchAction if there is none."""
    row = _read(engine, audit_id)
    with engine.begin() as connection:
        take_write_lock(connection)
        values = {"finished_at": database_now(connection), "detail": _join(row.detail, f"stopped by {by.name}")}
        connection.execute(sa.update(audits).where(audits.c.id == audit_id, audits.c.finished_at.is_(None)).values(values))


def count(connection: Connection, action: str, query: Query, seconds: float, below: int | None = None) -> Number:
    """Return how many of the emails that *query* finds *action* can change, as ``Search.count`` does."""
    return Search(connection, KINDS[action].narrow(query)).count(seconds, below=below)


def _read(engine: Engine, audit_id: int) -> Any:
    with engine.connect() as connection:
        row = connection.execute(sa.select(audits).where(audits.c.id == audit_id)).one_or_none()
    if row is None or row.search is None or row.action not in KINDS:
        raise NoSuchAction(f"There is no action {audit_id} on a search.")
    return row


def _change_some(engine: Engine, row: Any, by: Operator) -> int:
    """Change the next emails, up to CHUNK, and return how many; none if another operator is going on with it too."""
    kind = KINDS[row.action]
    query = kind.narrow(parse(row.search, row.at))
    came_to = row.first_id + 1 if row.last_id is None else row.last_id
    # Outside the transaction: a search may take a while, and SQLite's writers would wait.
    with engine.connect() as connection:
        ids, reached = Search(connection, query).find(CHUNK, SEARCH, below=came_to)
    with engine.begin() as connection:
        take_write_lock(connection)
        if not _move(connection, row, reached, by):
            return 0
        changed = kind.apply(connection, sa.and_(emails.c.id.in_(ids), condition(query))) if ids else []
        add_emails(connection, row.id, changed)
        more = {"changed": audits.c.changed + len(changed)}
        connection.execute(sa.update(audits).where(audits.c.id == row.id).values(more))
    _log(kind.event, changed)
    return len(changed)


def _log(event: Event, changed: list[int]) -> None:
    if changed:
        log.info(
            "%d %s %s by an operator", len(changed), "email was" if len(changed) == 1 else "emails were", event, extra=facts(event)
        )


def _move(connection: Connection, row: Any, reached: int | None, by: Operator) -> bool:
    """Record that the action comes down to the id *reached*, or to its end, unless it has moved since *row* was read."""
    values: dict[str, Any] = {"last_id": 0 if reached is None else reached}
    if reached is None:
        values["finished_at"] = database_now(connection)
    if by.name != row.actor and f"continued by {by.name}" not in (row.detail or "").split("; "):
        values["detail"] = _join(row.detail, f"continued by {by.name}")
    is_same = audits.c.last_id.is_(None) if row.last_id is None else audits.c.last_id == row.last_id
    here = audits.c.id == row.id, audits.c.finished_at.is_(None), is_same
    return bool(connection.execute(sa.update(audits).where(*here).values(values)).rowcount)


def _join(detail: str | None, more: str) -> str:
    return f"{detail}; {more}" if detail else more
