"""What an import costs: nothing that the host does not use, and nothing of Flask-Mail's is replaced."""

from __future__ import annotations

import email.utils
from typing import Any

import flask_mail
import pytest

FOREIGN = [
    "rq",
    "redis",
    "flasky",
    "limits",
    "flask_sqlalchemy",
    "alembic",
    "flask_migrate",
    "psycopg",
    "pytest",
    "aiosmtpd",
    "greenlet",
]


def test_an_import_loads_nothing_that_is_optional(run_python: Any) -> None:
    printed = run_python(
        "import sys",
        "import flask, flask_mail, sqlalchemy, sqlalchemy.orm, email_validator",
        "before = {name.partition('.')[0] for name in sys.modules}",
        "from flask_outbox import Mail, send_email",
        "after = {name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)",
        "print(sorted(after - before))",
    )
    assert printed == "['flask_outbox']\n"


def test_an_app_with_a_thread_loads_nothing_that_is_optional(run_python: Any) -> None:
    printed = run_python(
        "import sys, sqlalchemy as sa",
        "from flask import Flask",
        "from flask_outbox import Email, Mail, send_email",
        "app = Flask('host', root_path='.')",
        "app.config.update(MAIL_DEFAULT_SENDER='a@b.example', MAIL_SUPPRESS_SEND=True)",
        "engine = sa.create_engine('sqlite:///host.sqlite3')",
        "mail = Mail(app, db=engine)",
        "Email.metadata.create_all(engine)",
        "with app.app_context():",
        "    send_email('a@b.example', 'Hi', 'hello', name='susan')",
        "    print(mail.deliver() <= 1)",
        f"print([name for name in {FOREIGN!r} if name in sys.modules])",
    )
    assert printed == "True\n[]\n"


def test_flask_mail_keeps_its_own_names() -> None:
    assert flask_mail.make_msgid is email.utils.make_msgid
    for name in ("Mail", "Message", "Connection", "Attachment", "BadHeaderError"):
        assert getattr(flask_mail, name).__module__ == "flask_mail"


def test_flask_mail_beside_the_library_is_itself(make_flask: Any) -> None:
    app = make_flask(MAIL_DEFAULT_SENDER="a@b.example")
    plain = flask_mail.Mail(app)
    with app.app_context():
        assert type(plain.connect()) is flask_mail.Connection
        assert flask_mail.Message("Hi", ["b@b.example"], "text").sender == "a@b.example"


@pytest.mark.parametrize("name", ["Attachment", "BadHeaderError", "email_dispatched"])
def test_what_needs_no_change_is_flask_mail_s_own(name: str) -> None:
    import flask_outbox

    assert getattr(flask_outbox, name) is getattr(flask_mail, name)
