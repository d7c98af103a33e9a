"""The page of an email on the site: for administrators, with the site's own CSRF protection, and recorded under their names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from flask_outbox.testing import SmtpServer, reply
from flasky.extensions import db
from flasky.mail import send_email
from flasky.models import User
from tests.site.visiting import signed_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

PAGE = "/admin/mail/email/1/"


def test_an_administrator_reads_and_retries_an_email(make_app: Callable[..., Flask], smtp: SmtpServer) -> None:
    app = make_app()
    smtp.on("RCPT", reply("550 5.1.1 no such user"))
    with app.app_context():
        send_email("ada@example.org", "New User", "mail/new_user", user=User(username="zoë"))
    admin: Any = signed_in(app, admin=True)
    page = admin.get(PAGE).text
    assert "No: the mail server has refused it" in page
    assert "zoë" in admin.get(f"{PAGE}?show=message").text
    frame = admin.get(f"{PAGE}html/")
    assert frame.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert "sandbox" in frame.headers["Content-Security-Policy"]
    assert admin.post(f"{PAGE}act/", data={"action": "retry"}).status_code == 400
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert token
    answer = admin.post(f"{PAGE}act/", data={"action": "retry", "csrf_token": token[1]})
    assert answer.location.endswith("?done=retry")
    assert "The mail server has accepted it" in admin.get(answer.location).text
    with app.app_context():
        rows = db.session.execute(sa.text("SELECT actor, action, address FROM mail_audit ORDER BY id")).all()
    assert [tuple(row)[1:] for row in rows] == [("read", "127.0.0.1"), ("retry", "127.0.0.1")]
    assert all(row.actor for row in rows)


def test_nobody_else_sees_it(app: Flask) -> None:
    user: Any = signed_in(app)
    for part in ("", "state/", "html/", "source/", "file/0/"):
        assert app.test_client().get(PAGE + part).status_code == 302
        assert user.get(PAGE + part).status_code == 403
