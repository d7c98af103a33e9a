"""The site's own mails on the desk: an administrator sees and gets them, and nobody else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.site.visiting import EMAIL, signed_in, token

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from flasky.mail import Email

PAGE = "/admin/mail/templates/mail/new_user/"
FRAME = "/admin/mail/template-html/mail/new_user/?variant=symbols"
SEND = "/admin/mail/template-send/mail/new_user/"


def test_an_administrator_sees_each_mail_of_the_site(app: Flask) -> None:
    client = signed_in(app, admin=True)
    assert "Nothing found" in client.get("/admin/mail/templates/").text
    assert "User susan has joined." in client.get(PAGE).text
    frame = client.get(FRAME)
    assert "Fish &amp; Chips &lt;Ltd&gt;" in frame.text
    assert frame.headers["Content-Security-Policy"].startswith("sandbox ")
    assert frame.headers["X-Frame-Options"] == "SAMEORIGIN"


def test_an_administrator_gets_a_mail_at_their_own_address(app: Flask, outbox: Callable[[], list[Email]]) -> None:
    client = signed_in(app, admin=True)
    assert client.post(SEND, data={"csrf_token": token(client, PAGE), "variant": "symbols"}).status_code == 302
    (email,) = outbox()
    assert (email.recipient, email.subject, email.status) == (EMAIL, "[Flasky] New User", "sent")


def test_nobody_else_sees_them(app: Flask, client: Any) -> None:
    for visitor in (client, signed_in(app)):
        for path in (PAGE, FRAME):
            answer = visitor.get(path)
            assert answer.status_code in {302, 403}
            assert "Chips" not in answer.text
