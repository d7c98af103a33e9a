"""The name form."""

from __future__ import annotations

import unicodedata

from flask_wtf import FlaskForm
from wtforms import StringField, SubmitField
from wtforms.validators import DataRequired, Length, ValidationError

from flasky.models import NAME_LENGTH

# Control characters, lone surrogates, private use, line and paragraph separators. Unassigned characters are allowed, because
# they may be newer than this Python's Unicode table.
FORBIDDEN = {"Cc", "Cs", "Co", "Zl", "Zp"}
# Formatting characters, combining marks and spaces; and four letters and a symbol that look like spaces.
INVISIBLE = {"Cf", "Mn", "Zs"}
BLANK_LETTERS = "\u115f\u1160\u3164\uffa0\u2800"


def normalize(name: str | None) -> str | None:
    """Strip *name* and normalize it to NFC, so that equal names compare equal."""
    return unicodedata.normalize("NFC", name).strip() if name else name


class NameForm(FlaskForm):
    """Asks for a name."""

    name = StringField(
        "What is your name?",
        filters=[normalize],
        validators=[
            DataRequired("Please enter a name."),
            Length(max=NAME_LENGTH, message=f"That name is too long: use at most {NAME_LENGTH} characters."),
        ],
        render_kw={"autocomplete": "name", "autofocus": True, "maxlength": NAME_LENGTH},
    )
    submit = SubmitField("Submit")

    def validate_name(self, field: StringField) -> None:
        """Refuse unprintable characters, and a name that is invisible."""
        name = field.data or ""
        if any(unicodedata.category(character) in FORBIDDEN for character in name):
            message = "That name contains a character that cannot be displayed. Please remove it."
            raise ValidationError(message)
        if all(character in BLANK_LETTERS or unicodedata.category(character) in INVISIBLE for character in name):
            message = "Please enter a name."
            raise ValidationError(message)
