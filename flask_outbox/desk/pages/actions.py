"""Actions on emails: their preview, their progress, and what has become of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from flask import abort, jsonify, redirect, render_template, request, url_for
from sqlalchemy.orm import Session, joinedload

from ...state import current_state
from ...store.models import Content, Email
from ...store.operations import bulk
from ...store.operations.bulk import KINDS, NoSuchAction
from ...store.reading.listing import changed_ids, read_action, read_rows
from ...store.reading.search import NotUnderstood, Search
from ..rights import Action, current_operator, may, require
from .arguments import id_argument, read_ids, understand

if TYPE_CHECKING:
    from flask import Blueprint
    from flask.typing import ResponseReturnValue

# How long a preview searches for examples, and counts, in seconds.
FIND, COUNT = 0.03, 0.03
EXAMPLES = 10
# The emails that one can select, and that the page of an action lists.
MOST_SELECTED, MOST_LISTED = 500, 100
# How long one step works, in seconds.
STEP = 1.0


def add_routes(bp: Blueprint) -> None:
    """Add the pages and the actions."""
    bp.add_url_rule("/actions/preview/", "preview_action", preview_action)
    bp.add_url_rule("/actions/", "act", act, methods=["POST"])
    bp.add_url_rule("/actions/<int:audit_id>/", "action", action)
    bp.add_url_rule("/actions/<int:audit_id>/step/", "step", step, methods=["POST"])
    bp.add_url_rule("/actions/<int:audit_id>/stop/", "stop", stop, methods=["POST"])


def preview_action() -> str:
    """Show what the action would do to all emails that the search line ``q`` finds."""
    chosen, line = _action(request.args.get("action", "")), request.args.get("q", "")
    require(chosen)
    with current_state().engine.connect() as connection:
        query = KINDS[chosen].narrow(understand(line, connection))
        search = Search(connection, query)
        number = search.count(COUNT, below=id_argument("count_below"))
        return render_template(
            "mail_desk/preview_action.html",
            action=chosen,
            q=line,
            number=number.value + (id_argument("counted") or 0),
            count_below=number.reached,
            rows=read_rows(connection, search.find(EXAMPLES, FIND).ids),
        )


def act() -> ResponseReturnValue:
    """Do the ``action`` to the emails with each ``id``, or begin to do it to all that the search line ``q`` finds."""
    chosen = _action(request.form.get("action", ""))
    if "q" in request.form:
        require(chosen)
        return _begin(chosen, request.form["q"])
    ids = read_ids(request.form.getlist("id"), MOST_SELECTED)
    if not ids:
        abort(400, "No email is selected. Go back, and select some.")
    _require_each(chosen, ids)
    engine = current_state().engine
    audit_id = bulk.act(engine, chosen, ids, current_operator())
    with engine.connect() as connection:
        changed = read_action(connection, audit_id).changed
    _ring(chosen, changed)
    if len(ids) == 1 and changed and chosen is not Action.PURGE:
        return redirect(url_for(".email", email_id=ids[0]), 303)
    return redirect(url_for(".action", audit_id=audit_id), 303)


def action(audit_id: int) -> str:
    """Show an action: who does what, how far it has come, and which emails it has changed."""
    with current_state().engine.connect() as connection:
        row = read_action(connection, audit_id) or abort(404, f"There is no action {audit_id}.")
        if not may(Action.AUDIT):
            require(Action(row.action) if row.action in KINDS else Action.AUDIT)
        ids = changed_ids(connection, audit_id, MOST_LISTED)
    is_open = row.finished_at is None and row.action in KINDS
    return render_template("mail_desk/action.html", row=row, ids=ids, may_continue=is_open and may(Action(row.action)))


def step(audit_id: int) -> ResponseReturnValue:
    """Go on with an action for a second; answer a script with how far it has come, and a form with the page."""
    chosen, engine = _open_action(audit_id), current_state().engine
    try:
        _ring(chosen, bulk.step(engine, audit_id, current_operator(), STEP))
    except NoSuchAction as missing:
        abort(404, str(missing))
    if request.accept_mimetypes.best != "application/json":
        return redirect(url_for(".action", audit_id=audit_id), 303)
    with engine.connect() as connection:
        row = read_action(connection, audit_id)
    return jsonify(changed=row.changed, expected=row.expected, finished=row.finished_at is not None)


def stop(audit_id: int) -> ResponseReturnValue:
    """End an action before it has come to its end."""
    _open_action(audit_id)
    try:
        bulk.stop(current_state().engine, audit_id, current_operator())
    except NoSuchAction as missing:
        abort(404, str(missing))
    return redirect(url_for(".action", audit_id=audit_id), 303)


def _begin(chosen: Action, line: str) -> ResponseReturnValue:
    (expected,) = read_ids([request.form.get("expected") or "0"], 1)
    try:
        audit_id = bulk.begin(current_state().engine, chosen, line, min(expected, 2**31 - 1), current_operator())
    except NotUnderstood as explained:
        abort(400, str(explained))
    return redirect(url_for(".action", audit_id=audit_id), 303)


def _action(text: str) -> Action:
    if text not in KINDS:
        abort(400, "There is no such action: retry, cancel or purge emails.")
    return Action(text)


def _open_action(audit_id: int) -> Action:
    """Return what the action does, if the operator may do that."""
    with current_state().engine.connect() as connection:
        row = read_action(connection, audit_id)
    if row is None or row.action not in KINDS:
        abort(404, f"There is no action {audit_id} on a search.")
    chosen = Action(row.action)
    require(chosen)
    return chosen


def _require_each(chosen: Action, ids: list[int]) -> None:
    with Session(current_state().engine) as session:
        # Without the bodies, which may be large; the rule that wants one still gets it.
        without_body = joinedload(Email.content).defer(Content.source)
        for email in session.scalars(sa.select(Email).where(Email.id.in_(ids)).options(without_body)):
            require(chosen, email)


def _ring(chosen: Action, changed: int) -> None:
    """Wake the workers for emails that are queued again."""
    if changed and chosen is Action.RETRY:
        current_state().ring()
