"""The name form."""

from __future__ import annotations

import unicodedata

from flask_wtf import FlaskForm
from wtforms import StringField, SubmitField
from wtforms.validators import DataRequired, Length, ValidationError

from flasky.models import NAME_LENGTH

# Control characters, half surrogate pairs, private use, line and paragraph separators. Unassigned ones are not among
# them: to this Python's table, a character that is newer than it is unassigned.
UNFIT = {"Cc", "Cs", "Co", "Zl", "Zp"}
# Formatting, marks that need a letter, blanks; and four letters and a symbol that look like blanks.
UNSEEN = {"Cf", "Mn", "Zs"}
BLANK_LETTERS = "\u115f\u1160\u3164\uffa0\u2800"


def normalize(name: str | None) -> str | None:
    """Return *name* without blanks around it and in NFC, so that one name has one spelling."""
    return unicodedata.normalize("NFC", name).strip() if name else name


class NameForm(FlaskForm):
    """Asks for one name."""

    name = StringField(
        "What is your name?",
        filters=[normalize],
        validators=[
            DataRequired("Please type a name."),
            Length(max=NAME_LENGTH, message=f"That name is too long: {NAME_LENGTH} characters at most."),
        ],
        render_kw={"autocomplete": "name", "autofocus": True, "maxlength": NAME_LENGTH},
    )
    submit = SubmitField("Submit")

    def validate_name(self, field: StringField) -> None:
        """Refuse what cannot be shown, and a name that shows nothing."""
        name = field.data or ""
        if any(unicodedata.category(character) in UNFIT for character in name):
            message = "That name has a character in it that cannot be shown. Please type it without."
            raise ValidationError(message)
        if all(character in BLANK_LETTERS or unicodedata.category(character) in UNSEEN for character in name):
            message = "Please type a name."
            raise ValidationError(message)
