"""The pytest plugin: a fixture ``outbox`` for any suite that has a fixture ``app``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from flask import Flask

from ..state import KEY, MailState
from .recorded_outbox import RecordedOutbox

if TYPE_CHECKING:
    from collections.abc import Iterator

NO_APP = "the fixture outbox needs a fixture named app that returns your Flask app, with Flask-Outbox bound to it"


@pytest.fixture
def outbox(request: pytest.FixtureRequest) -> Iterator[RecordedOutbox]:
    """Record what is enqueued in this test: a sequence of emails, to choose from by recipient, template, subject and context."""
    with RecordedOutbox(_host_app(request)).recording() as recorded:
        yield recorded


def _host_app(request: pytest.FixtureRequest) -> Flask:
    try:
        app = request.getfixturevalue("app")
    except pytest.FixtureLookupError as error:
        if error.argname != "app":
            raise
        pytest.fail(f"{NO_APP}; there is none", pytrace=False)
    if not isinstance(app, Flask):
        pytest.fail(f"{NO_APP}; yours returns {type(app).__name__}", pytrace=False)
    if not isinstance(app.extensions.get(KEY), MailState):
        pytest.fail(f"{NO_APP}: call mail.init_app(app) with the Mail of flask_outbox", pytrace=False)
    return app
