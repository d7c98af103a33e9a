"""Say in SQL what a search asks: which of it an index serves, and the rest, which is checked email by email."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from ...models import Status, contents, emails
from .hints import Common
from .query import Query, Term
from .texts import contains, contains_lower

if TYPE_CHECKING:
    from collections.abc import Callable

    Condition = sa.ColumnElement[bool]

# A whole address is looked up by the index; anything less is a part of one.
ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
EVERY_STATUS = frozenset(Status)


class Route(NamedTuple):
    """Where the emails that *name* asks for are found by an index; without a name, all emails.

    Each of *streams* is a condition that an index serves, in the order of *position*, which is the id; together they are what is
    asked, and no email meets two of them. *rest* is what the query asks beyond that, in a form that leads no database to another
    index; None if nothing.
    """

    name: str
    streams: tuple[Condition, ...]
    rest: Condition | None
    position: Any = emails.c.id


def routes(query: Query) -> list[Route]:
    """Return the routes that *query* may take; the last one leads through all emails."""
    found = []
    for term in query.terms:
        streams = () if term.is_negated else _streams(term)
        if streams:
            # The index on keys is not in the order of ids: + 0 keeps a database from reading all emails in that order instead.
            position = emails.c.id + 0 if term.name == "key" else emails.c.id
            found.append(Route(term.name, streams, _rest(query, without=term), position))
    if query.statuses != EVERY_STATUS:
        each = tuple(_has_status(status) for status in sorted(query.statuses))
        found.append(Route("status", each or (sa.false(),), _rest(query, status=False)))
    return [*found, Route("", (sa.true(),), _rest(query))]


def condition(query: Query) -> Condition:
    """Return whether an email is what *query* asks for."""
    return sa.and_(sa.true(), *_checks(query))


def _rest(query: Query, *, without: Term | None = None, status: bool = True) -> Condition | None:
    checks = _checks(query, without, status=status)
    return sa.and_(*checks) if checks else None


def _checks(query: Query, without: Term | None = None, *, status: bool = True) -> list[Condition]:
    checks = [_check(term) for term in query.terms if term is not without and term.name != "status"]
    if status and query.statuses != EVERY_STATUS:
        checks.append(_check(Term("status", query.statuses)))
    return checks


def _check(term: Term) -> Condition:
    asked = CHECKS[term.name](term.value)
    return sa.not_(asked) if term.is_negated else asked


def _streams(term: Term) -> tuple[Condition, ...]:
    value: Any = term.value
    if term.name == "to" and ADDRESS.fullmatch(value):
        lower = value.lower()
        # An older version, which may still run during an upgrade, leaves recipient_lower empty.
        unknown = sa.and_(emails.c.recipient_lower.is_(None), sa.func.lower(emails.c.recipient) == lower)
        return emails.c.recipient_lower == lower, unknown
    if term.name == "failure":
        return (sa.and_(emails.c.failure == value, Common(_has_status(Status.FAILED))),)
    if term.name in {"key", "template"}:
        return (emails.c[term.name] == value,)
    return (emails.c.id.in_(value),) if term.name == "id" else ()


def _has_status(status: Status) -> Condition:
    """Return the condition, with the status as a literal: only then does the database use a partial index."""
    has: Condition = emails.c.status == sa.literal(status.value, literal_execute=True)
    return has


# Checks: each is true or false and never NULL, so that it can be negated.


def _text(column: Any) -> Any:
    return sa.func.coalesce(column, "")


def _of_content(column: Any) -> Any:
    """Return a column of the email's message; by a subquery, so that no database reads all messages to join them."""
    return _text(sa.select(column).where(contents.c.id == emails.c.content_id).scalar_subquery())


def _recipient() -> Any:
    return sa.func.coalesce(emails.c.recipient_lower, sa.func.lower(emails.c.recipient))


def _is_to(value: str) -> Condition:
    recipient: sa.ColumnElement[str] = _recipient()
    return recipient == value.lower() if ADDRESS.fullmatch(value) else contains_lower(recipient, value)


def _has_word(value: str) -> Condition:
    return sa.or_(contains_lower(_recipient(), value), contains(_of_content(contents.c.subject), value))


def _has_one_of(statuses: frozenset[Status]) -> Condition:
    has: Condition = _text(emails.c.status).in_([status.value for status in sorted(statuses)])
    return has if statuses else sa.false()


CHECKS: dict[str, Callable[[Any], Condition]] = {
    "": _has_word,
    "to": _is_to,
    "from": lambda value: contains(_of_content(contents.c.sender), value),
    "subject": lambda value: contains(_of_content(contents.c.subject), value),
    "template": lambda value: _text(emails.c.template) == value,
    "failure": lambda value: _text(emails.c.failure) == value,
    "reply": lambda value: contains(_text(emails.c.reply), value),
    "key": lambda value: _text(emails.c.key) == value,
    "request": lambda value: _of_content(contents.c.request_id) == value,
    "status": _has_one_of,
    "id": lambda ids: (emails.c.id + 0).in_(sorted(ids)),
    "body": lambda _: sa.exists().where(contents.c.id == emails.c.content_id, contents.c.source.is_not(None)),
    "after": lambda moment: emails.c.created_at >= moment,
    "before": lambda moment: emails.c.created_at < moment,
}
