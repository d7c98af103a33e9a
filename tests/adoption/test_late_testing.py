"""An app that sets TESTING after init_app: no thread starts behind the test's back."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from flask_sqlalchemy import SQLAlchemy

from flask_outbox import Mail, send_email

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flask import Flask


@pytest.mark.parametrize("testing", [True, False])
def test_a_thread_is_not_started_once_testing_is_set(
    make_flask: Callable[..., Flask], tmp_path: Path, in_outbox: Any, smtp: Any, *, testing: bool
) -> None:
    app = make_flask(MAIL_DELIVERY=None, SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / 'host.sqlite3'}")
    db = SQLAlchemy(app)
    mail = Mail(app)
    app.add_url_rule("/", view_func=lambda: "hello")
    app.testing = testing
    with app.app_context():
        db.create_all()
        app.test_client().get("/")
        send_email("a@b.example", "Hi", "hello", name="susan")
        assert any(thread.name == "mail-delivery" for thread in threading.enumerate()) is not testing
        assert in_outbox(db.engine) == ["a@b.example"]
        if testing:
            assert mail.deliver() == 1
        smtp.wait_for(1)
        app.extensions["mail"].bell.stop()
        db.session.remove()
        db.engine.dispose()
