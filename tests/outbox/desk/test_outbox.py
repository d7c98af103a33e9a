"""The outbox page: what it finds, how one turns its pages, and what it says when there is nothing."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa

from flask_outbox import Message, enqueue
from flask_outbox.desk import Action
from flask_outbox.desk.pages import outbox as page
from flask_outbox.store.models import Content, Email
from flask_outbox.store.reading.search import quoted, scan

if TYPE_CHECKING:
    from flask.testing import FlaskClient

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7*7 }}"


@pytest.fixture(autouse=True)
def _links(app: Any) -> None:
    """Let links to pages that are not here lead somewhere."""
    app.url_build_error_handlers.append(lambda error, endpoint, values: f"/desk/email/{values.get('email_id')}/")


@pytest.fixture
def put(app: Any, session: Any) -> Any:
    """A function that puts an email into the outbox; its keywords are columns of it and its message."""

    def put(recipient: str = "b@example.com", **columns: Any) -> int:
        subject = columns.pop("subject", "hi")
        (email,) = enqueue(Message(subject if subject.isascii() and "<" not in subject else "hi", [recipient], "text"))
        session.commit()
        content = {"subject": subject} | {name: columns.pop(name) for name in ("origin", "sender") if name in columns}
        session.execute(sa.update(Content).where(Content.id == email.content_id).values(content))
        if columns:
            session.execute(sa.update(Email).where(Email.id == email.id).values(columns))
        session.commit()
        return int(email.id)

    return put


def shown(text: str) -> list[int]:
    return [int(one) for one in re.findall(r'data-id="(\d+)"', text)]


def link(text: str, name: str) -> str | None:
    found = re.search(rf'href="([^"]+)">{name}</a>', text)
    return found[1].replace("&amp;", "&") if found else None


def test_an_empty_outbox_says_what_to_do(client: FlaskClient) -> None:
    response = client.get("/desk/outbox/")
    assert response.status_code == 200
    assert "The outbox is empty." in response.text
    assert "send_email()" in response.text


def test_a_search_that_finds_nothing_says_so(client: FlaskClient, put: Any) -> None:
    put()
    text = client.get("/desk/outbox/?q=nothing").text
    assert "No email matches this search" in text
    assert shown(text) == []


def test_the_newest_come_first_with_what_the_server_said(client: FlaskClient, put: Any) -> None:
    put(status="failed", reply="550 5.1.1 user unknown", template="mail/reset")
    put("Susan@example.com", subject="Your invoice")
    text = client.get("/desk/outbox/").text
    assert shown(text) == [2, 1]
    for part in (
        "550 5.1.1 user unknown",
        "mail/reset",
        "Susan@example.com",
        "Your invoice",
        'class="badge failed">failed<',
        "2 emails",
    ):
        assert part in text


def test_a_queued_email_says_when_it_goes_out(client: FlaskClient, put: Any) -> None:
    past, later = (datetime.now(UTC) + timedelta(hours=hours) for hours in (-2, 3.5))
    put(send_at=past, tries=1)
    put(send_at=later)
    put(send_at=later, tries=1, reply="451 later")
    text = re.sub(r"<[^>]+>|\s+", " ", client.get("/desk/outbox/").text)
    for said in ("due 2 hours ago", "to be sent in 3 hours", "451 later next try in 3 hours"):
        assert said in " ".join(text.split())


def test_one_turns_pages_forth_and_back_and_sees_each_email_once(client: FlaskClient, put: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(page, "PAGE", 3)
    for _ in range(8):
        put()
    url: str | None = "/desk/outbox/"
    down = []
    while url:
        text = client.get(url).text
        down.append(shown(text))
        url = link(text, "Older")
    assert down == [[8, 7, 6], [5, 4, 3], [2, 1]]
    text = client.get(link(text, "Newer") or "").text
    assert shown(text) == [5, 4, 3]
    # A full first page, even if fewer emails are newer.
    assert shown(client.get("/desk/outbox/?above=7").text) == [8, 7, 6]
    assert link(client.get("/desk/outbox/?above=2").text, "Newer") == "/desk/outbox/?above=5"


def test_each_tab_says_how_many_and_keeps_the_search(client: FlaskClient, put: Any) -> None:
    for status in ("failed", "failed", "sent"):
        put(status=status)
    text = client.get("/desk/outbox/").text
    assert re.search(r'q=status:failed"[^>]*>Failed <span class="count">2</span>', text)
    assert re.search(r'>All <span class="count">3</span>', text)
    text = client.get("/desk/outbox/", query_string={"q": "to:b@ -status:sent"}).text
    assert 'q=to:b@+status:failed">Failed</a>' in text
    assert 'q=to:b@">All</a>' in text
    text = client.get("/desk/outbox/", query_string={"q": "status:failed"}).text
    assert re.search(r'aria-current="true">Failed', text)
    assert shown(text) == [2, 1]


def test_a_wrong_word_is_explained(client: FlaskClient, put: Any) -> None:
    put()
    response = client.get("/desk/outbox/", query_string={"q": 'status:sentt "<b>"'})
    assert response.status_code == 400
    assert "There is no status &#34;sentt&#34;: use queued, sending" in response.text
    assert 'value="status:sentt &#34;&lt;b&gt;&#34;"' in response.text
    for path in (
        "/desk/outbox/new/?q=status:sentt",
        "/desk/outbox/count/?q=status:sentt",
        "/desk/actions/preview/?action=retry&q=status:sentt",
    ):
        response = client.get(path)
        assert response.status_code == 400
        assert "There is no status" in response.text


@pytest.mark.parametrize("name", ["below", "above", "counted", "count_below"])
@pytest.mark.parametrize("value", ["x", "-1", "1.5", "9" * 30, "'", "٣"])
def test_what_is_no_id_is_answered_with_400(client: FlaskClient, name: str, value: str) -> None:
    assert client.get("/desk/outbox/", query_string={name: value, "q": "x"}).status_code == 400


def test_a_search_that_takes_too_long_is_continued_where_it_stopped(client: FlaskClient, put: Any, monkeypatch: Any) -> None:
    for number in range(9):
        put(subject="invoice" if number % 4 == 0 else "hi")
    for name, value in {"FIRST_WINDOW": 2, "LARGEST_WINDOW": 2}.items():
        monkeypatch.setattr(scan, name, value)
    for name in ("FIND", "COUNT", "COUNT_ON"):
        monkeypatch.setattr(page, name, 0)
    url: str | None = "/desk/outbox/?q=invoice"
    found = []
    while url:
        text = client.get(url).text
        found += shown(text)
        assert ("Searched back to" in text) == (link(text, "Search on") is not None)
        url = link(text, "Search on")
    assert found == [9, 5, 1]
    text = client.get("/desk/outbox/?q=invoice").text
    while "found so far" in text:
        text = client.get(link(text, "Count on") or "").text
    assert "3 emails found" in text
    counted: dict[str, Any] = {"number": 0, "below": None}
    while True:
        arguments = {"q": "invoice", "counted": counted["number"]} | ({"below": counted["below"]} if counted["below"] else {})
        counted = client.get("/desk/outbox/count/", query_string=arguments).json
        if counted["below"] is None:
            break
    assert counted["number"] == 3


def test_new_emails_and_changed_ones_come_as_a_piece_of_the_page(client: FlaskClient, put: Any, execute: Any) -> None:
    for _ in range(3):
        put()
    execute("UPDATE mail_email SET status = 'sent' WHERE id = 2")
    text = client.get("/desk/outbox/new/?shown=1,2,7&seen=2&floor=0").text
    new, now = text.split("</table>")[:2]
    assert shown(new) == [3]
    assert shown(now) == [2, 1]
    assert 'badge sent">sent' in now
    assert 'data-seen="3"' in text
    # What the search does not find does not appear.
    assert shown(client.get("/desk/outbox/new/?q=status:failed&seen=2&floor=0").text) == []
    assert client.get("/desk/outbox/new/?shown=" + ",".join(["1"] * 201)).status_code == 400


def test_an_email_whose_transaction_ends_late_still_appears(client: FlaskClient, put: Any, execute: Any) -> None:
    for _ in range(3):
        put()
    # Number 2 was not there when 3 was shown.
    new, _ = client.get("/desk/outbox/new/?shown=1,3&seen=3&floor=0").text.split("</table>", 1)
    assert shown(new) == [2]


def test_who_may_change_nothing_sees_no_buttons(client: FlaskClient, put: Any, rule: Any) -> None:
    put(status="failed")
    assert 'value="retry"' in client.get("/desk/outbox/").text
    rule.denied = {Action.RETRY, Action.CANCEL, Action.PURGE}
    text = client.get("/desk/outbox/").text
    for part in ('type="checkbox"', 'value="retry"', "/actions/preview/"):
        assert part not in text
    assert 'type="checkbox"' not in client.get("/desk/outbox/new/?shown=1&seen=0&floor=0").text


def test_what_strangers_write_is_shown_as_text(client: FlaskClient, put: Any) -> None:
    put(subject=HOSTILE, reply=HOSTILE, template=HOSTILE, failure=HOSTILE[:200], status="failed", recipient_lower=HOSTILE.lower())
    for query in ("", HOSTILE.split(maxsplit=1)[0], f"failure:{quoted(HOSTILE[:200])}"):
        for path in ("/desk/outbox/", "/desk/outbox/new/", "/desk/actions/preview/"):
            response = client.get(path, query_string={"q": query, "action": "retry", "shown": "1", "seen": "0", "floor": "0"})
            assert response.status_code == 200
            assert "<script>alert" not in response.text
            assert "<img src=x" not in response.text
            assert shown(response.text), (path, query)


@pytest.mark.parametrize("failure", ['550 user "x" unknown', '550 "', "550 C:\\", '550 \\" x', "550 … <…>"])
def test_a_page_links_to_alike_failures_whatever_the_server_said(app: Any, client: FlaskClient, put: Any, failure: str) -> None:
    put(status="failed", failure=failure)
    put(status="failed", failure="550 other")
    line = app.jinja_env.filters["desk_quoted"](failure)
    text = client.get("/desk/outbox/", query_string={"q": f"failure:{line}"}).text
    assert shown(text) == [1]
    assert line == quoted(failure)


def test_links_keep_the_whole_search(client: FlaskClient, put: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(page, "PAGE", 1)
    line = 'failure:"550 & <x> + 100%…"'
    for _ in range(2):
        put(status="failed", failure="550 & <x> + 100%…")
    text = client.get("/desk/outbox/", query_string={"q": line}).text
    older = link(text, "Older") or ""
    assert parse_qs(urlsplit(older).query) == {"q": [line], "below": ["2"]}
    assert shown(client.get(older).text) == [1]
