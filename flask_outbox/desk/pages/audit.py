"""The audit: who did what, when, from where, and to which emails; newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import render_template

from ...state import current_state
from ...store.operations.bulk import KINDS
from ...store.reading.listing import few_changed_ids, read_actions
from ..rights import Action, require
from .arguments import id_argument

if TYPE_CHECKING:
    from flask import Blueprint

PAGE = 50
# An action on more emails leads to its own page instead.
MOST_LISTED = 3


def add_routes(bp: Blueprint) -> None:
    """Add the page."""
    bp.add_url_rule("/audit/", "audit", audit)


def audit() -> str:
    """Show a page of actions, ``below`` an id; of those on one ``email`` if that is given."""
    require(Action.AUDIT)
    email_id = id_argument("email")
    with current_state().engine.connect() as connection:
        rows = read_actions(connection, PAGE + 1, id_argument("below"), email_id)
        shown, is_more = rows[:PAGE], len(rows) > PAGE
        ids = few_changed_ids(connection, shown, MOST_LISTED)
    return render_template("mail_desk/audit.html", rows=shown, is_more=is_more, ids=ids, email_id=email_id, kinds=KINDS)
