"""All that a Message asks for: an app with stock Flask-Mail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import flask_mail
import pytest
from flask import Flask

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def flask_mail_context() -> Iterator[None]:
    """An app context with Flask-Mail's own extension."""
    app = Flask("test")
    flask_mail.Mail(app)
    with app.app_context():
        yield
