"""GET and POST /: ask for a name and greet the visitor."""

from __future__ import annotations

from flask import redirect, render_template, session, url_for
from flask.typing import ResponseReturnValue

from flasky.extensions import limiter
from flasky.limiting import form_limit
from flasky.main import bp
from flasky.main.forms import NameForm
from flasky.main.names import remember


@bp.route("/", methods=["GET", "POST"])
@limiter.limit(form_limit, methods=["POST"])
def index() -> ResponseReturnValue:
    """Show the form and greet the visitor. POST redirects, so a reload posts nothing again."""
    form = NameForm()
    if form.validate_on_submit():
        name = form.name.data
        session["known"] = remember(name)
        session["name"] = name
        return redirect(url_for(".index"))
    return render_template("main/index.html", form=form, name=session.get("name"), known=session.get("known", False))
