"""The page of one email: the answer in its first line, the message for whoever may read it, and actions that are recorded."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_outbox import Message, enqueue
from flask_outbox.desk import Action
from flask_outbox.store.models import attempts, audited, audits, contents, emails

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from flask.testing import FlaskClient

NOW = datetime.now(UTC)
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


@pytest.fixture
def app(app: Flask) -> Flask:
    # No worker may change what a test has set.
    app.extensions["mail"].bell = type("Silent", (), {"ring": lambda self: None, "is_local": False, "wakes_workers": False})()
    return app


@pytest.fixture
def put(app: Flask, session: Any) -> Callable[..., int]:
    """Put an email into the outbox with these columns, and return its id."""

    def put(*, secret: bool = False, subject: str = "Your order", html: str = "<p>the html half</p>", **columns: Any) -> int:
        message = Message(subject, ["ada@example.org"], "the text half", html)
        message.attach("invoice.pdf", "application/pdf", b"%PDF-1.7")
        email_id = enqueue(message, secret=secret)[0].id
        if columns:
            session.execute(sa.update(emails).where(emails.c.id == email_id).values(**columns))
        session.commit()
        return email_id

    return put


@pytest.fixture
def done(session: Any) -> Callable[[], list[tuple[str, str, list[int]]]]:
    """What the audit says: who did what, and to which emails."""

    def done() -> list[tuple[str, str, list[int]]]:
        session.rollback()
        rows = session.execute(sa.select(audits.c.id, audits.c.actor, audits.c.action).order_by(audits.c.id)).all()
        of = [session.scalars(sa.select(audited.c.email_id).where(audited.c.audit_id == row.id)).all() for row in rows]
        return [(row.actor, row.action, sorted(ids)) for row, ids in zip(rows, of, strict=True)]

    return done


def post(client: FlaskClient, email_id: int, action: str) -> Any:
    token = re.search(r'name="csrf_token" value="([^"]+)"', client.get(f"/desk/email/{email_id}/").text)
    if token is None:
        with client.session_transaction() as own:
            own["mail_desk_csrf"] = "a token"
    data = {"csrf_token": token[1] if token else "a token", "action": action}
    return client.post(f"/desk/email/{email_id}/act/", data=data, headers={"X-User": "ada"})


def text_of(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split()).replace(" .", ".")


@pytest.mark.parametrize(
    ("columns", "answer"),
    [
        ({}, "queued Not yet: it waits for a worker since it became due"),
        ({"send_at": NOW + timedelta(hours=3, minutes=30)}, "Not yet: it is scheduled for later. It goes out in 3 hours."),
        ({"status": "sending", "lease_until": NOW}, "sending Not yet: a worker is sending it at this moment"),
        ({"status": "held", "reply": "MAIL_ALLOW_TO"}, "held No: it is held back (MAIL_ALLOW_TO)."),
        ({"status": "sent", "finished_at": NOW, "reply": "250 ok"}, "sent The mail server has accepted it now (250 ok)."),
        ({"status": "failed", "finished_at": NOW, "reply": "550 no"}, "failed No: the mail server has refused it now (550 no)."),
        ({"status": "expired", "finished_at": NOW}, "expired No: it could not be sent before it expired now."),
        ({"status": "cancelled", "finished_at": NOW}, "cancelled No: an operator cancelled it now."),
    ],
)
def test_the_first_line_answers_for_every_status(client: FlaskClient, put: Any, columns: Any, answer: str) -> None:
    recent = {name: datetime.now(UTC) if value is NOW else value for name, value in columns.items()}
    email_id = put(**recent)
    page = client.get(f"/desk/email/{email_id}/")
    assert page.status_code == 200
    assert answer in text_of(page.text)
    assert answer in text_of(client.get(f"/desk/email/{email_id}/state/").text)
    is_final = columns.get("status") not in {None, "sending"}
    assert (" data-final" in page.text) is is_final


def test_the_facts_are_there(client: FlaskClient, put: Any) -> None:
    page = text_of(client.get(f"/desk/email/{put(template='mail/order', key='order-7', priority=20)}/").text)
    for fact in ("ada@example.org", "host@example.com", "mail/order", "order-7", "bulk", "@example.com&gt;"):
        assert fact in page


@pytest.mark.parametrize("value", ["order-7", 'a "quoted" \\ word', "<b>&amp;"])
def test_a_fact_leads_to_the_emails_that_share_it(client: FlaskClient, put: Any, value: str) -> None:
    columns = {"template": value, "key": value, "failure": f"550 {value}", "status": "failed", "finished_at": NOW}
    page = client.get(f"/desk/email/{put(**columns)}/").text
    put(subject="another one")
    for field in ("to", "template", "key", "failure"):
        (url,) = [
            unescape(found) for found in re.findall(r'href="(/desk/outbox/\?q=[^"]*)"', page) if f"q={field}:" in unescape(found)
        ]
        found = client.get(url).text
        assert "Your order" in found
        assert ("another one" in found) is (field == "to")


@pytest.mark.parametrize("email_id", ["1", "4711", "9223372036854775807", "9223372036854775808", "99999999999999999999999"])
def test_an_email_that_is_not_there_is_404(client: FlaskClient, email_id: str) -> None:
    for part in ("", "state/", "html/", "source/", "file/0/"):
        assert client.get(f"/desk/email/{email_id}/{part}").status_code == 404


# The message


def test_the_message_is_shown_only_when_asked_for_and_that_is_recorded(client: FlaskClient, put: Any, done: Any) -> None:
    email_id = put()
    page = client.get(f"/desk/email/{email_id}/").text
    assert "Show the message" in page
    assert "the text half" not in page
    assert done() == []
    page = client.get(f"/desk/email/{email_id}/?show=message").text
    assert "the text half" in page
    assert f'src="/desk/email/{email_id}/html/?colours=light"' in page
    assert done() == [("susan", "read", [email_id])]
    assert client.get(f"/desk/email/{email_id}/html/").text.endswith("<p>the html half</p>\r\n")
    assert b"the text half" in client.get(f"/desk/email/{email_id}/source/").data
    assert client.get(f"/desk/email/{email_id}/file/0/").data == b"%PDF-1.7"
    assert done() == [("susan", "read", [email_id])]


@pytest.mark.parametrize("part", ["html/", "source/", "file/0/"])
def test_each_part_of_the_message_is_a_read(client: FlaskClient, put: Any, done: Any, part: str) -> None:
    email_id = put()
    assert client.get(f"/desk/email/{email_id}/{part}").status_code == 200
    assert done() == [("susan", "read", [email_id])]


def test_whoever_may_not_read_sees_the_page_and_no_message(client: FlaskClient, put: Any, rule: Any, done: Any) -> None:
    email_id = put()
    rule.denied = {Action.READ}
    assert "You may see this page, and not read messages" in client.get(f"/desk/email/{email_id}/").text
    for part in ("?show=message", "html/", "source/", "file/0/"):
        answer = client.get(f"/desk/email/{email_id}/{part}")
        assert answer.status_code == 403
        assert "half" not in answer.text
    assert any(action is Action.READ and email is not None and email.id == email_id for action, email in rule.asked)
    assert "Send to me" not in client.get(f"/desk/email/{email_id}/").text
    assert post(client, email_id, "send to me").status_code == 403
    assert done() == []


@pytest.mark.parametrize("is_erased", [False, True])
def test_a_secret_message_is_never_shown_and_the_page_says_why(
    client: FlaskClient, put: Any, session: Any, is_erased: bool, done: Any
) -> None:
    email_id = put(secret=True, status="sent", finished_at=NOW)
    if is_erased:
        session.execute(sa.update(contents).values(source=None))
        session.commit()
    page = client.get(f"/desk/email/{email_id}/?show=message").text
    assert ("has been erased" if is_erased else "This email is secret") in page
    for part in ("?show=message", "html/", "source/", "file/0/"):
        answer = client.get(f"/desk/email/{email_id}/{part}")
        assert "half" not in answer.text
        assert answer.status_code == (200 if part.startswith("?") else 404)
    for action in ("send again", "send to me"):
        assert f'value="{action}"' not in page
        assert post(client, email_id, action).status_code == 409
    assert done() == []


def test_what_strangers_write_is_escaped(client: FlaskClient, put: Any, session: Any) -> None:
    email_id = put(subject=EVIL, template=EVIL, key=EVIL, reply=f"550 {EVIL}", status="failed", finished_at=NOW)
    session.execute(sa.update(contents).values(origin=EVIL, request_id=EVIL, message_id=EVIL, sender=EVIL))
    row = {
        "email_id": email_id,
        "started_at": NOW,
        "seconds": 1.0,
        "worker": EVIL,
        "outcome": EVIL[:12],
        "code": 550,
        "reply": EVIL,
    }
    session.execute(sa.insert(attempts).values(row))
    session.commit()
    client.get(f"/desk/email/{email_id}/html/", headers={"X-User": EVIL})
    for path in ("", "?show=message", "state/"):
        page = client.get(f"/desk/email/{email_id}/{path}").text
        assert "&lt;script&gt;" in page
        assert "<script>" not in page
        assert "<img src=x" not in page


@pytest.mark.parametrize("path", ["html/", "source/", "file/0/"])
def test_a_part_of_the_message_is_in_a_sandbox_whoever_opens_it(client: FlaskClient, put: Any, path: str) -> None:
    headers = client.get(f"/desk/email/{put()}/{path}").headers
    policy = dict(one.strip().partition(" ")[::2] for one in headers["Content-Security-Policy"].split(";"))
    assert "sandbox" in policy
    assert not {"allow-scripts", "allow-same-origin", "allow-forms", "allow-top-navigation"} & set(policy["sandbox"].split())
    assert policy["default-src"] == "'none'"
    assert policy.get("img-src", "data:") == "data:"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


# Actions


def test_a_retry_leads_back_to_the_page_that_watches_it(client: FlaskClient, put: Any, done: Any) -> None:
    email_id = put(status="failed", finished_at=NOW, reply="550 no")
    answer = post(client, email_id, "retry")
    assert (answer.status_code, answer.location) == (303, f"/desk/email/{email_id}/?done=retry")
    page = client.get(answer.location).text
    assert "Queued again" in page
    assert " data-final" not in page
    assert done() == [("ada", "retry", [email_id])]
    assert "ada queued it again" in text_of(page)


def test_cancel_says_who_did_it(client: FlaskClient, put: Any, done: Any) -> None:
    email_id = put()
    assert post(client, email_id, "cancel").status_code == 303
    assert "No: ada cancelled it" in client.get(f"/desk/email/{email_id}/").text
    assert done() == [("ada", "cancel", [email_id])]


def test_send_again_and_send_to_me_lead_to_the_new_email(client: FlaskClient, put: Any, done: Any, session: Any) -> None:
    email_id = put(status="sent", finished_at=NOW, reply="250 ok")
    assert post(client, email_id, "send again").location == f"/desk/email/{email_id + 1}/?done=send+again"
    answer = post(client, email_id, "send to me")
    assert answer.location == f"/desk/email/{email_id + 2}/?done=send+to+me"
    assert done() == [("ada", "send again", [email_id, email_id + 1]), ("ada", "send to me", [email_id, email_id + 2])]
    page = client.get(answer.location).text
    assert "[copy] Your order" in page
    assert f'it is a copy of <a href="/desk/email/{email_id}/">email {email_id}</a>' in page
    assert f'<a href="/desk/email/{email_id + 1}/">' in client.get(f"/desk/email/{email_id}/").text
    origin = session.execute(sa.select(contents.c.origin).order_by(contents.c.id.desc())).scalars().first()
    assert origin.startswith("POST /desk/email/<int")


@pytest.mark.parametrize(
    ("status", "buttons"),
    [
        ("queued", {"cancel", "send to me"}),
        ("held", {"retry", "cancel", "send to me"}),
        ("sending", {"send to me"}),
        ("sent", {"send again", "send to me"}),
        ("failed", {"retry", "send to me"}),
        ("expired", {"retry", "send to me"}),
        ("cancelled", {"retry", "send to me"}),
    ],
)
def test_only_what_is_possible_has_a_button_and_the_rest_is_explained(
    client: FlaskClient, put: Any, status: str, buttons: set[str], done: Any
) -> None:
    email_id = put(status=status)
    page = client.get(f"/desk/email/{email_id}/").text
    assert set(re.findall(r'name="action" value="([^"]+)"', page)) == buttons
    for action in {"retry", "cancel", "send again"} - buttons:
        answer = post(client, email_id, action)
        assert answer.status_code == 409
        assert re.search(rf'role="alert">Email {email_id} cannot be \w+( again)?: ', answer.text)
    assert done() == []


@pytest.mark.parametrize("action", [Action.RETRY, Action.CANCEL, Action.SEND_AGAIN, Action.SEND_TO_ME])
def test_each_action_asks_the_hosts_rule_about_this_email(
    client: FlaskClient, put: Any, rule: Any, action: Action, done: Any
) -> None:
    email_id = put(status="held")
    rule.denied = {action}
    assert f'value="{action.value}"' not in client.get(f"/desk/email/{email_id}/").text
    assert post(client, email_id, action.value).status_code == 403
    assert any(asked is action and email is not None and email.id == email_id for asked, email in rule.asked)
    assert done() == []


@pytest.mark.parametrize("action", ["", "purge", "look", "nonsense"])
def test_an_unknown_action_is_refused(client: FlaskClient, put: Any, action: str) -> None:
    assert post(client, put(), action).status_code == 400
