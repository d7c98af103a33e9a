"""Sign in and sign out."""

from __future__ import annotations

from flask import flash, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_user, logout_user

from flasky.auth import bp
from flasky.auth.accounts import authenticate, canonical
from flasky.auth.forms import SignInForm
from flasky.extensions import limiter
from flasky.models import EMAIL_LENGTH

# A person who has forgotten a password tries a handful; a machine tries thousands.
TRIES_BY_ADDRESS = "20 per 10 minutes"
TRIES_BY_ACCOUNT = "10 per 10 minutes"


def _account() -> str:
    """Return what tries are counted under: every spelling of an address is one account."""
    typed = request.form.get("email", "")[:EMAIL_LENGTH]
    try:
        return canonical(typed)
    except ValueError:
        return typed


@bp.route("/sign-in", methods=["GET", "POST"])
@limiter.limit(TRIES_BY_ADDRESS, methods=["POST"])
@limiter.limit(TRIES_BY_ACCOUNT, methods=["POST"], key_func=_account)
def sign_in() -> ResponseReturnValue:
    """Ask for address and password; one answer for all that is wrong with them."""
    if current_user.is_authenticated:
        return redirect(_next_page())
    form = SignInForm()
    if form.validate_on_submit():
        user = authenticate(form.email.data or "", form.password.data or "")
        if user is not None:
            # A new session: nothing that was in the old one, or was planted there, goes along.
            session.clear()
            login_user(user)
            return redirect(_next_page())
        flash("That email address and password do not belong together.", "danger")
    return render_template("auth/sign_in.html", form=form)


@bp.post("/sign-out")
def sign_out() -> ResponseReturnValue:
    """Forget who is signed in."""
    logout_user()
    session.clear()
    flash("You are signed out.", "info")
    return redirect(url_for("main.index"))


def _next_page() -> str:
    """Return where the visitor was going, if that is within this site."""
    target = request.args.get("next", "")
    # Browsers read a backslash as a slash, and leave out tabs and line breaks: //evil.example is not ours.
    is_ours = target.startswith("/") and not target.startswith("//") and "\\" not in target and target.isprintable()
    return target if is_ours else url_for("main.index")
