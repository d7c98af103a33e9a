"""The sign-in form."""

from __future__ import annotations

from flask_wtf import FlaskForm
from wtforms import EmailField, PasswordField, SubmitField
from wtforms.validators import DataRequired, Length

from flasky.models import EMAIL_LENGTH

# scrypt takes any length, but nobody needs the site to hash megabytes.
LONGEST_PASSWORD = 1024


class SignInForm(FlaskForm):
    """Asks for an address and a password."""

    email = EmailField(
        "Email",
        validators=[DataRequired("Please enter your email address."), Length(max=EMAIL_LENGTH)],
        render_kw={"autocomplete": "username", "autofocus": True},
    )
    password = PasswordField(
        "Password",
        validators=[DataRequired("Please enter your password."), Length(max=LONGEST_PASSWORD)],
        render_kw={"autocomplete": "current-password"},
    )
    submit = SubmitField("Sign in")
