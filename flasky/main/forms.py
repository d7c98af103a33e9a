"""The name form."""

from __future__ import annotations

import unicodedata

from flask_wtf import FlaskForm
from wtforms import StringField, SubmitField
from wtforms.validators import DataRequired, Length, ValidationError

from flasky.models import NAME_LENGTH


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
        """Refuse control characters (Cc), half surrogate pairs (Cs), line separators, and a name that shows nothing."""
        categories = {unicodedata.category(character) for character in field.data or ""}
        if categories & {"Cc", "Cs", "Zl", "Zp", "Cn", "Co"}:
            message = "That name has a character in it that cannot be shown. Please type it without."
            raise ValidationError(message)
        if categories <= {"Cf", "Mn", "Zs"}:
            message = "Please type a name."
            raise ValidationError(message)
