"""Actions on the desk: each asks the host's rule, changes what it may, and is written to the audit."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_outbox import Message, enqueue
from flask_outbox.desk import Action
from flask_outbox.desk.pages import audit as audit_page
from flask_outbox.store.models import Email
from flask_outbox.store.operations import bulk
from flask_outbox.store.operations.audit import record

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


@pytest.fixture(autouse=True)
def _links(app: Any) -> None:
    """Let links to pages that are not here lead somewhere."""
    app.url_build_error_handlers.append(lambda error, endpoint, values: f"/desk/email/{values.get('email_id')}/")


@pytest.fixture
def put(app: Any, session: Any) -> Any:
    """A function that puts an email with a status into the outbox."""

    def put(status: str = "failed", recipient: str = "b@example.com") -> int:
        (email,) = enqueue(Message("hi", [recipient], "text"))
        session.commit()
        session.execute(sa.update(Email).where(Email.id == email.id).values(status=status))
        session.commit()
        return int(email.id)

    return put


@pytest.fixture
def post(client: FlaskClient) -> Any:
    """A function that posts a form with its token."""

    def post(path: str, **fields: Any) -> TestResponse:
        headers = fields.pop("headers", {})
        with client.session_transaction() as session:
            session["mail_desk_csrf"] = "token"
        return client.post(f"/desk/actions/{path}", data=fields | {"csrf_token": "token"}, headers=headers)

    return post


@pytest.fixture
def statuses(execute: Any) -> Any:
    return lambda: [row.status for row in execute("SELECT status FROM mail_email ORDER BY id")]


def test_selected_emails_are_changed_at_once(post: Any, put: Any, client: FlaskClient, statuses: Any) -> None:
    for status in ("failed", "failed", "sent"):
        put(status)
    response = post("", action="retry", id=["1", "2", "3"])
    assert response.status_code == 303
    assert statuses() == ["queued", "queued", "sent"]
    text = client.get(response.location).text
    assert '<span id="changed">2</span> of 3 emails queued again' in text
    assert "The others cannot be changed now" in text
    assert "susan" in text
    assert "127.0.0.1" in text


def test_after_an_action_on_one_email_its_page_follows_or_the_reason(post: Any, put: Any, client: FlaskClient) -> None:
    put("failed")
    assert post("", action="retry", id="1").location == "/desk/email/1/"
    put("sent")
    text = client.get(post("", action="cancel", id="2").location).text
    assert "only an email that is queued or held can be cancelled" in text


def test_the_rule_is_asked_for_each_selected_email(post: Any, put: Any, rule: Any, statuses: Any) -> None:
    put()
    put()
    post("", action="retry", id=["1", "2"])
    assert sorted(email.id for action, email in rule.asked if action is Action.RETRY and email is not None) == [1, 2]
    rule.denied = {Action.CANCEL}
    assert post("", action="cancel", id=["1", "2"]).status_code == 403
    assert post("", action="cancel", q="").status_code == 403
    assert statuses() == ["queued", "queued"]


@pytest.mark.parametrize(
    "fields",
    [
        {"action": "retry"},
        {"action": "nonsense", "id": "1"},
        {"action": "look", "id": "1"},
        {"id": "1"},
        {"action": "retry", "id": "x"},
        {"action": "retry", "id": ["1"] * 501},
        {"action": "retry", "q": "status:sentt"},
        {"action": "retry", "q": "", "expected": "x"},
    ],
)
def test_what_is_no_action_is_answered_with_400(post: Any, put: Any, statuses: Any, fields: Any) -> None:
    put()
    assert post("", **fields).status_code == 400
    assert statuses() == ["failed"]


def test_all_that_a_search_finds_is_changed_after_a_preview(
    post: Any, put: Any, client: FlaskClient, statuses: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(bulk, "CHUNK", 2)
    monkeypatch.setattr("flask_outbox.desk.pages.actions.STEP", 0)
    for _ in range(3):
        put("failed")
    put("sent")
    preview = client.get("/desk/actions/preview/?action=retry&q=to:b@").text
    assert "3 emails" in preview
    assert statuses().count("queued") == 0
    begun = post("", action="retry", q="to:b@", expected=re.search(r'name="expected" value="(\d+)"', preview)[1])
    assert statuses().count("queued") == 0
    text = client.get(begun.location).text
    assert "Not finished." in text
    assert 'value="0" max="3"' in text
    path = begun.location.removeprefix("/desk/actions/")
    assert post(f"{path}step/").location == begun.location
    assert statuses() == ["failed", "queued", "queued", "sent"]
    answer = post(f"{path}step/", headers={"Accept": "application/json"})
    assert answer.json == {"changed": 3, "expected": 3, "finished": True}
    text = client.get(begun.location).text
    assert "Finished." in text
    assert "Continue" not in text


def test_nothing_to_do_says_so(put: Any, client: FlaskClient) -> None:
    put("sent")
    for action, said in {"retry": "nothing to retry", "cancel": "nothing to cancel", "purge": "email"}.items():
        assert said in client.get(f"/desk/actions/preview/?action={action}").text


def test_an_action_is_stopped_for_good(post: Any, put: Any, client: FlaskClient, statuses: Any) -> None:
    put()
    path = post("", action="retry", q="status:failed", expected=1).location.removeprefix("/desk/actions/")
    post(f"{path}stop/")
    assert post(f"{path}step/").status_code == 303
    assert statuses() == ["failed"]
    assert "Stopped before the end." in client.get(f"/desk/actions/{path}").text


def test_only_who_may_do_it_goes_on_or_stops(post: Any, put: Any, client: FlaskClient, rule: Any, statuses: Any) -> None:
    put()
    path = post("", action="retry", q="status:failed", expected=1).location.removeprefix("/desk/actions/")
    rule.denied = {Action.RETRY}
    assert post(f"{path}step/").status_code == post(f"{path}stop/").status_code == 403
    assert "Continue" not in client.get(f"/desk/actions/{path}").text
    rule.denied = {Action.RETRY, Action.AUDIT}
    assert client.get(f"/desk/actions/{path}").status_code == 403
    assert statuses() == ["failed"]


def test_what_is_no_action_on_a_search_cannot_go_on(post: Any, put: Any, client: FlaskClient) -> None:
    put()
    path = "1/" if post("", action="retry", id="1") else ""
    assert post(f"{path}step/").status_code == post(f"{path}stop/").status_code == 404
    assert client.get("/desk/actions/4711/").status_code == post("4711/step/").status_code == 404


def test_workers_are_woken_for_what_is_queued_again(post: Any, put: Any, app: Any) -> None:
    rung: list[int] = []
    put()
    app.extensions["mail"].ring = lambda: rung.append(1)
    post("", action="retry", id="1")
    assert rung == [1]
    post("", action="cancel", id="1")
    post("", action="retry", id="4711")
    assert rung == [1]


def test_the_audit_says_who_did_what_when_and_from_where(post: Any, put: Any, client: FlaskClient) -> None:
    for _ in range(5):
        put()
    post("", action="retry", id="1", headers={"X-User": "bob"})
    post("", action="purge", id=["2", "3", "4", "5"])
    post("", action="cancel", q="to:b@", expected=1)
    text = client.get("/desk/audit/").text
    assert re.findall(r'<a href="/desk/actions/(\d+)/">(cancel|delete|retry)</a>', text) == [
        ("3", "cancel"),
        ("2", "delete"),
        ("1", "retry"),
    ]
    assert '<a href="/desk/email/1/">1</a>' in text
    assert ">4 emails</a>" in text
    assert "<code>to:b@</code>" in text
    assert "not finished" in text
    assert 'scope="row">bob</th>' in text
    assert "127.0.0.1" in text
    only = client.get("/desk/audit/?email=1").text
    assert re.findall(r'<a href="/desk/actions/(\d+)/">(?:cancel|delete|retry)</a>', only) == ["1"]


def test_the_audit_is_for_those_who_may_see_it(client: FlaskClient, rule: Any) -> None:
    assert "No operator has done anything yet" in client.get("/desk/audit/").text
    rule.denied = {Action.AUDIT}
    assert client.get("/desk/audit/").status_code == 403
    assert "/desk/audit/" not in client.get("/desk/outbox/").text


def test_one_turns_the_pages_of_the_audit(client: FlaskClient, session: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(audit_page, "PAGE", 2)
    for number in range(3):
        record(session.connection(), actor=f"user-{number}", address="", action="look")
    session.commit()
    text = client.get("/desk/audit/").text
    assert re.findall(r"user-\d", text) == ["user-2", "user-1"]
    older = re.search(r'href="([^"]+)">Older', text)[1]
    assert re.findall(r"user-\d", client.get(older).text) == ["user-0"]


def test_what_operators_and_strangers_write_is_shown_as_text(post: Any, put: Any, client: FlaskClient, session: Any) -> None:
    put()
    post("", action="retry", q=f'"{HOSTILE}"', expected=1, headers={"X-User": HOSTILE})
    values = {"actor": HOSTILE, "address": HOSTILE, "action": "<b>", "detail": HOSTILE, "search": f'"{HOSTILE}"'}
    record(session.connection(), **values, emails=[1])
    record(session.connection(), **values | {"action": "purge"}, emails=[1])
    session.commit()
    for path in ("audit/", "actions/1/", "actions/2/", "actions/3/"):
        response = client.get(f"/desk/{path}")
        assert response.status_code == 200
        assert "<script>alert" not in response.text
        assert "<img src=x" not in response.text
        assert "<b>" not in response.text
