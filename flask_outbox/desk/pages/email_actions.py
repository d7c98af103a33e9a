"""What an operator does to one email: retry, cancel, send again, send to me; each by a form, and recorded in the audit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import abort, redirect, request, url_for

from ...errors import MailError
from ...message.address import parse
from ...origin import current_origin
from ...state import current_state
from ...store.operations.actions import NotPossible
from ...store.operations.again import send_again, send_copy
from ...store.operations.operator import cancel_one, retry_one
from ..email_state import desk_session, find_email
from ..rights import Action, current_desk, current_operator, require
from .email import PATH, email_page

if TYPE_CHECKING:
    from flask import Blueprint
    from flask.typing import ResponseReturnValue

ACTIONS = {action.value: action for action in (Action.RETRY, Action.CANCEL, Action.SEND_AGAIN, Action.SEND_TO_ME)}


def add_routes(bp: Blueprint) -> None:
    """Add the form's target."""
    bp.add_url_rule(f"{PATH}act/", "email_act", act, methods=["POST"])


def act(email_id: int) -> ResponseReturnValue:
    """Do the field ``action`` to an email, and redirect to the page that shows what becomes of it; 409 if it cannot be done."""
    action = ACTIONS.get(request.form.get("action", ""))
    if action is None:
        abort(400, "There is no such action.")
    require(action, find_email(email_id))
    if action is Action.SEND_TO_ME:
        require(Action.READ, find_email(email_id))
    desk_session().close()
    try:
        shown = _do(action, email_id)
    except (NotPossible, MailError) as error:
        return email_page(email_id, problem=f"{str(error)[:1].upper()}{str(error)[1:]}."), 409
    if action is not Action.CANCEL:
        current_state().ring()
    return redirect(url_for(".email", email_id=shown, done=action.value), 303)


def _do(action: Action, email_id: int) -> int:
    """Do *action*, and return the id of the email whose page comes next."""
    engine, operator = current_state().engine, current_operator()
    match action:
        case Action.RETRY:
            retry_one(engine, email_id, operator)
        case Action.CANCEL:
            cancel_one(engine, email_id, operator)
        case Action.SEND_AGAIN:
            return send_again(engine, email_id, operator, current_origin())
        case _:
            return send_copy(engine, email_id, operator, current_origin(), _own_address())
    return email_id


def _own_address() -> str:
    address = current_desk().to_me()
    if not address:
        raise NotPossible("the desk does not know your address: desk(to_me=...) returns it")
    return parse(address, "your address").envelope
