"""The outbox: all emails, newest first, or those that a search finds; new ones appear by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from flask import jsonify, render_template, request

from ...state import current_state
from ...store.database.clock import database_now
from ...store.models import Status
from ...store.operations.bulk import KINDS
from ...store.reading.listing import created_at, read_rows
from ...store.reading.search import NotUnderstood, Number, Query, Search, parse, without
from ...store.status.counts import recent_counts
from ..rights import Action, may
from .arguments import id_argument, ids_argument, understand

if TYPE_CHECKING:
    from flask import Blueprint
    from flask.typing import ResponseReturnValue

# Rows on a page.
PAGE = 50
# How long a page searches, and counts, in seconds: the rest is found and counted from there on.
FIND, COUNT, COUNT_ON = 0.05, 0.02, 0.07
# A transaction may commit after later ones: emails with so much smaller ids than the newest may be new too.
LATE = 1000
# How many rows a page shows at most, once new emails have appeared on it.
MOST_SHOWN = 200
EVERY_STATUS = frozenset(Status)


class Tab(NamedTuple):
    """A tab: its *title*, the search *line* that it leads to, how many emails that finds (None: unknown), whether it is open."""

    title: str
    line: str
    number: int | None
    is_current: bool


def add_routes(bp: Blueprint) -> None:
    """Add the page, and what its script asks for."""
    bp.add_url_rule("/outbox/", "outbox", outbox)
    bp.add_url_rule("/outbox/new/", "outbox_new", outbox_new)
    bp.add_url_rule("/outbox/count/", "outbox_count", outbox_count)


def outbox() -> ResponseReturnValue:
    """Show a page of the emails that the search line ``q`` finds; ``below`` or ``above`` an id."""
    line, engine = request.args.get("q", "").strip(), current_state().engine
    with engine.connect() as connection:
        try:
            query = parse(line, database_now(connection))
        except NotUnderstood as explained:
            return _render(line, problem=str(explained), rows=(), tabs=_tabs("", Query(), recent_counts(engine))), 400
        search = Search(connection, query)
        page = _find(search)
        counts = recent_counts(engine)
        return _render(
            line,
            **page,
            rows=read_rows(connection, page["ids"]),
            reached_at=created_at(connection, page["reached"]) if page["reached"] else None,
            tabs=_tabs(line, query, counts),
            number=_number(search, query, counts),
            seen=search.newest,
        )


def outbox_new() -> str:
    """Return the emails that have come since, ``above`` an id, and the ``shown`` ones as they are now, as a piece of the page."""
    line, shown, engine = request.args.get("q", ""), ids_argument("shown", MOST_SHOWN), current_state().engine
    with engine.connect() as connection:
        query = understand(line, connection)
        search = Search(connection, query)
        seen = id_argument("seen") or 0
        above = max(seen - LATE, id_argument("floor") or 0)
        ids, reached = search.find_above(above, PAGE + len(shown), FIND)
        return render_template(
            "mail_desk/_outbox_new.html",
            q=line,
            new=read_rows(connection, set(ids) - set(shown)),
            is_more=reached is not None,
            shown=read_rows(connection, shown),
            seen=max(search.newest, seen) if reached is None else seen,
            tabs=_tabs(line, query, recent_counts(engine)),
            may_change=may_change(),
        )


def outbox_count() -> ResponseReturnValue:
    """Return how many emails the search line finds, or ``action`` can change, counted on from ``below``, as JSON."""
    action = request.args.get("action")
    with current_state().engine.connect() as connection:
        query = understand(request.args.get("q", ""), connection)
        below = id_argument("below")
        search = Search(connection, KINDS[action].narrow(query) if action in KINDS else query)
        number = search.count(COUNT_ON, below=below)
    return jsonify(number=number.value + (id_argument("counted") or 0), below=number.reached)


def may_change() -> bool:
    """Return whether the operator may do something to selected emails."""
    return may(Action.RETRY) or may(Action.CANCEL)


def _find(search: Search) -> dict[str, Any]:
    """Find the page that the request asks for, and what is before and after it."""
    below, above = id_argument("below"), id_argument("above")
    if above is not None:
        ids, reached = search.find_above(above, PAGE, FIND)
        if reached is not None:
            return {"ids": ids, "older": ids[-1] if ids else above + 1, "newer": reached, "reached": None, "is_first": False}
        # There is nothing newer, so this is the first page: show a full one.
    ids, reached = search.find(PAGE, FIND, below=below if above is None else None)
    is_first = below is None or above is not None
    newer = None if is_first else (ids[0] if ids else (below or 1) - 1)
    is_cut = reached is not None and len(ids) < PAGE
    return {
        "ids": ids,
        "older": None if is_cut else reached,
        "newer": newer,
        "reached": reached if is_cut else None,
        "is_first": is_first,
    }


def _number(search: Search, query: Query, counts: dict[str, int] | None) -> Number | None:
    """Return how many emails *query* finds, as far as they can be counted now, on from where the request says.

    A page further on does not count again what takes long; then it is None.
    """
    if all(term.name == "status" for term in query.terms):
        return None if counts is None else Number(sum(counts.get(status, 0) for status in query.statuses), None)
    if request.args.get("below") or request.args.get("above"):
        return None
    number = search.count(COUNT, below=id_argument("count_below"))
    return Number(number.value + (id_argument("counted") or 0), number.reached)


def _tabs(line: str, query: Query, counts: dict[str, int] | None) -> list[Tab]:
    """Return the tabs: all emails, and each status, within what else *line* asks; with numbers if that is nothing."""
    rest = without(line, "status")
    numbers = {} if rest or counts is None else {status: counts.get(status, 0) for status in Status}
    first = Tab("all", rest, sum(numbers.values()) if numbers else None, query.statuses == EVERY_STATUS)
    return [first] + [
        Tab(status, f"{rest} status:{status}".strip(), numbers.get(status), query.statuses == {status}) for status in Status
    ]


def _render(line: str, **values: Any) -> str:
    return render_template("mail_desk/outbox.html", q=line, may_change=may_change(), **values)
