"""The templates page: each mail of the app with sample data, what lint says of it, and "send me this one"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint, abort, current_app, redirect, render_template, request, url_for
from sqlalchemy.orm import Session

from ...api import enqueue
from ...errors import InvalidMessage
from ...previews.checking import Checked, check, check_variant
from ...previews.lint.document import Document
from ...previews.lint.structure import preview_text
from ...previews.mails import Mail, find_mail, find_mails
from ...previews.rendering import render_preview, written
from ...previews.samples import Samples, read_samples
from ...state import current_state
from ...store.operations.audit import record
from ..frame import SANDBOX, has_dark_colours
from ..rights import Action, current_desk, current_operator, require
from ..viewer import COLOURS, WIDTHS, Choice, chosen, html_response

if TYPE_CHECKING:
    from flask import Response
    from flask.typing import ResponseReturnValue
    from flask_mail import Message


def add_routes(bp: Blueprint) -> None:
    """Add the list of mails, one mail, its HTML half for a frame, and sending it to the operator."""
    bp.add_url_rule("/templates/", "templates", templates)
    bp.add_url_rule("/templates/<path:name>/", "template", template)
    bp.add_url_rule("/template-html/<path:name>/", "template_html", template_html)
    bp.add_url_rule("/template-send/<path:name>/", "send_template", send_template, methods=["POST"])


def templates() -> str:
    """Show every mail of the app, with what lint says of its variants."""
    require(Action.PREVIEW)
    state = current_state()
    folder = state.settings.template_folder
    mails = [(mail, list(check(state, mail))) for mail in find_mails(current_app, folder)]
    return render_template("mail_desk/templates.html", mails=mails, folder=folder)


def template(name: str) -> str:
    """Show one mail with one variant of its sample data."""
    require(Action.PREVIEW)
    mail = _mail(name)
    samples, checked = _check(mail)
    shown = {"variant": checked.variant, "width": chosen("width", WIDTHS), "colours": chosen("colours", COLOURS)}
    html = str((checked.message and checked.message.html) or "")
    return render_template(
        "mail_desk/template.html",
        checked=checked,
        description=next((each.description for each in samples.variants if each.name == checked.variant), ""),
        shown=shown,
        switches=_switches(mail, samples, shown),
        has_dark_colours=has_dark_colours(html),
        sandbox=SANDBOX,
        preview=preview_text(Document(html)),
        size=len(html.encode(errors="replace")),
        to_me=current_desk().to_me(),
        sent=request.args.get("sent", type=int),
    )


def template_html(name: str) -> Response:
    """Return the HTML half of one mail, for the frame."""
    require(Action.PREVIEW)
    message = _render(_mail(name), request.args.get("variant"))
    try:
        return html_response(written(message))
    except InvalidMessage as error:
        abort(400, str(error))


def send_template(name: str) -> ResponseReturnValue:
    """Put one mail, with one variant of its sample data, into the outbox for the operator."""
    require(Action.PREVIEW)
    mail, address, variant = _mail(name), current_desk().to_me(), request.form.get("variant") or None
    if not address:
        abort(400, "The app does not know your address: the desk's to_me returns it.")
    message = _render(mail, variant)
    message.recipients, message.cc, message.bcc = [address], [], []
    # One transaction: no email without its entry in the audit.
    with Session(current_state().engine, expire_on_commit=False) as session, session.begin():
        try:
            email = enqueue(message, session=session)[0]
        except InvalidMessage as error:
            abort(400, str(error))
        session.flush()
        operator = current_operator()
        record(
            session.connection(),
            actor=operator.name,
            address=operator.address,
            action=Action.PREVIEW.value,
            emails=[email.id],
            detail=f"{mail.name} ({variant or 'default'}), sent to {address}",
        )
    return redirect(url_for(".template", name=name, variant=variant, sent=email.id))


def _mail(name: str) -> Mail:
    try:
        return find_mail(current_app, current_state().settings.template_folder, name)
    except InvalidMessage as error:
        abort(404, str(error))


def _check(mail: Mail) -> tuple[Samples, Checked]:
    """Return the sample data of *mail*, and what lint says of the variant that the request names."""
    try:
        samples = read_samples(mail)
        return samples, check_variant(current_state(), mail, samples, samples.variant(request.args.get("variant")))
    except InvalidMessage as error:
        if request.args.get("variant"):
            abort(404, str(error))
        return Samples(), next(check(current_state(), mail))


def _render(mail: Mail, variant: str | None) -> Message:
    try:
        samples = read_samples(mail)
        return render_preview(current_state(), mail, samples, samples.variant(variant))
    except InvalidMessage as error:
        abort(400, str(error))


def _switches(mail: Mail, samples: Samples, shown: dict[str, Any]) -> list[tuple[str, list[Choice]]]:
    """Return the switches of the page: each a title and its choices, which keep what the others say."""

    def switch(name: str, labels: dict[str, str]) -> list[Choice]:
        urls = {value: url_for(".template", name=mail.name, _anchor="preview", **shown | {name: value}) for value in labels}
        return [Choice(label, urls[value], value == shown[name]) for value, label in labels.items()]

    variants = {variant.name: variant.name.replace("_", " ").capitalize() for variant in samples.variants}
    switches = [("Width", switch("width", WIDTHS)), ("Colours", switch("colours", COLOURS))]
    return [("Sample", switch("variant", variants)), *switches] if len(variants) > 1 else switches
