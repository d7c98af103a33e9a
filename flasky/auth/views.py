"""Sign in and sign out."""

from __future__ import annotations

from flask import flash, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_user, logout_user

from flasky.auth import bp
from flasky.auth.accounts import authenticate, canonical
from flasky.auth.devices import device_of, remember_device
from flasky.auth.forms import SignInForm
from flasky.extensions import db, limiter
from flasky.models import EMAIL_LENGTH

# A person who forgot a password tries a few times; a program tries thousands.
TRIES_BY_ADDRESS = "20 per 10 minutes"
TRIES_BY_ACCOUNT = "10 per 10 minutes"


def _account() -> str:
    """Return the account for which to count the try; all spellings of an address are one account.

    A browser in which the account's owner has signed in before has tries of its own, so nobody else can use them up.
    """
    typed = request.form.get("email", "")[:EMAIL_LENGTH]
    try:
        account = canonical(typed)
    except ValueError:
        return typed
    return f"{account} {device_of(account)}".rstrip()


@bp.route("/sign-in", methods=["GET", "POST"])
@limiter.limit(TRIES_BY_ADDRESS, methods=["POST"])
@limiter.limit(TRIES_BY_ACCOUNT, methods=["POST"], key_func=_account)
def sign_in() -> ResponseReturnValue:
    """Sign in with address and password; one message covers every mistake."""
    if current_user.is_authenticated:
        return redirect(_next_page())
    form = SignInForm()
    if form.validate_on_submit():
        user = authenticate(form.email.data or "", form.password.data or "")
        if user is not None:
            # A new session: nothing from the old one survives, against session fixation.
            session.clear()
            login_user(user)
            return remember_device(redirect(_next_page()), user)
        flash("Wrong email address or password.", "danger")
    return render_template("auth/sign_in.html", form=form)


@bp.post("/sign-out")
def sign_out() -> ResponseReturnValue:
    """Sign out on every device, and drop the session."""
    if current_user.is_authenticated:
        current_user.end_sessions()
        db.session.commit()
    logout_user()
    session.clear()
    flash("You have signed out.", "info")
    return redirect(url_for("main.index"))


def _next_page() -> str:
    """Return the page that the visitor wanted, if it is on this site."""
    target = request.args.get("next", "")
    # Browsers take a backslash for a slash and drop tabs and line breaks; //evil.example is another site.
    is_ours = target.startswith("/") and not target.startswith("//") and "\\" not in target and target.isprintable()
    return target if is_ours else url_for("main.index")
