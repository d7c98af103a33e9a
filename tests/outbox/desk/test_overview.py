"""The overview says whether mail goes out and what to do, shows every figure as text, and escapes what strangers have written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa

from flask_outbox import Message, Status, enqueue
from flask_outbox.desk import Action
from flask_outbox.store.models import Attempt, Email, Health, Worker
from flask_outbox.store.status import kept

if TYPE_CHECKING:
    from flask import Flask
    from flask.testing import FlaskClient

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


class Page(HTMLParser):
    """What a page holds: its tags, its links, and its text with single spaces."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._text: list[str] = []
        self.feed(html)
        self.text = " ".join("".join(self._text).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self._text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(autouse=True)
def nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each page reads everything anew."""
    monkeypatch.setattr(kept, "SHORTEST", 0.0)
    monkeypatch.setattr(kept, "FACTOR", 0.0)


@pytest.fixture
def put(session: Any) -> Any:
    """A function that stores an email with the given columns."""

    def one(**values: Any) -> int:
        email = enqueue(Message("hi", ["b@example.com"], "text"))[0]
        session.execute(sa.update(Email).where(Email.id == email.id).values(values) if values else sa.select(1))
        session.commit()
        return email.id

    return one


def insert(session: Any, table: Any, **values: Any) -> None:
    session.execute(sa.insert(table).values(values))
    session.commit()


def ago(**span: float) -> datetime:
    return datetime.now(UTC) - timedelta(**span)


def look(client: FlaskClient, path: str = "/desk/") -> Page:
    response = client.get(path)
    assert response.status_code == 200, response.text
    return Page(response.text)


def test_an_empty_outbox_is_shown_as_one(client: FlaskClient) -> None:
    page = look(client)
    assert "Mail goes out. Nothing is waiting." in page.text
    assert "No email has failed." in page.text
    assert "No worker is running." in page.text
    assert "No email was accepted in the last 24 hours." in page.text


def test_email_for_later_is_not_said_to_wait(client: FlaskClient, put: Any) -> None:
    put(send_at=ago(hours=-2))
    assert "Mail goes out. Nothing is due; 1 scheduled for later." in look(client).text


def test_emails_that_are_still_being_counted_are_not_shown_as_none(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_outbox.store.status.status.recent_counts", lambda engine: None)
    page = look(client)
    assert "Mail goes out. Nothing is due." in page.text
    assert page.text.count("…") == len(Status)


def test_the_first_sentence_says_what_waits_and_for_how_long(client: FlaskClient, put: Any) -> None:
    put(send_at=ago(seconds=33))
    put()
    assert "Mail goes out. 2 waiting, the oldest for 33 seconds." in look(client).text


def test_each_reason_is_told_with_what_to_do(client: FlaskClient, put: Any, session: Any) -> None:
    put(send_at=ago(minutes=5))
    times = {"since": ago(minutes=5), "next_try_at": ago(minutes=2)}
    insert(session, Health, id=1, reason="Connection refused", ours=False, failures=3, **times)
    page = look(client)
    assert "Mail does not go out. 1 waiting, the oldest for 5 minutes." in page.text
    assert "The server cannot be used: Connection refused since 5 minutes ago" in page.text
    assert "Check that the server runs and can be reached from here." in page.text
    assert "No worker delivers" in page.text
    assert "Start what delivers" in page.text


def test_every_figure_of_a_chart_is_in_a_table_too(client: FlaskClient, put: Any, session: Any) -> None:
    row = {"email_id": put(), "seconds": 0.1, "worker": "w", "started_at": ago(seconds=1)}
    for outcome in ("sent", "sent", "deferred", "refused"):
        insert(session, Attempt, outcome=outcome, **row)
    page = look(client, "/desk/?period=hour")
    assert "2 Sent" in page.text
    assert "1 Put off" in page.text
    assert "1 Refused" in page.text
    assert len(page.all("svg")) == 3
    assert len(page.all("table")) == 3
    assert page.all("svg")[0]["aria-label"] == "Sent in the last hour: 2. The figures follow as a table."


@pytest.mark.parametrize(
    ("period", "words"), [("hour", "the last hour"), ("week", "the last 7 days"), ("day", "the last 24 hours")]
)
def test_the_period_is_chosen_by_a_link(client: FlaskClient, period: str, words: str) -> None:
    page = look(client, f"/desk/?period={period}")
    assert f"In {words}" in page.text
    assert f"/desk/overview/?period={period}" in [one.get("data-refresh") for one in page.all("div")]
    (current,) = [link for link in page.all("a") if link.get("aria-current") == "true"]
    assert current["href"] == f"/desk/?period={period}"


def test_an_unknown_period_is_a_day(client: FlaskClient) -> None:
    assert "In the last 24 hours" in look(client, "/desk/?period=%3Cscript%3E").text


def test_failures_are_grouped_and_lead_to_a_search_that_finds_exactly_them(client: FlaskClient, put: Any) -> None:
    failure = '550 5.1.1 …: "User" \\unknown'
    for minutes in (1, 2, 60):
        put(status="failed", failure=failure, finished_at=ago(minutes=minutes))
    page = look(client)
    assert f"{failure} 1 hour ago 1 minute ago Retry these 3" in page.text
    searches = [
        parse_qs(urlsplit(link["href"] or "").query).get("q") for link in page.all("a") if "retry" in (link.get("id") or "")
    ]
    assert searches == [['status:failed failure:"550 5.1.1 …: \\"User\\" \\\\unknown"']]


def test_failures_without_a_recorded_reason_have_no_search(client: FlaskClient, put: Any) -> None:
    put(status="failed", finished_at=ago(minutes=1))
    page = look(client)
    assert "not recorded, because an older version sent them" in page.text
    assert "Retry" not in page.text


def test_who_may_not_retry_gets_no_button_for_it(client: FlaskClient, put: Any, rule: Any) -> None:
    put(status="failed", failure="550 no", finished_at=ago(minutes=1))
    assert "Retry this one" in look(client).text
    rule.denied = {Action.RETRY}
    page = look(client)
    assert "Retry" not in page.text
    assert "550 no" in page.text


def test_many_reasons_do_not_make_the_page_endless(client: FlaskClient, put: Any) -> None:
    for number in range(22):
        put(status="failed", failure=f"reason {'x' * number}", finished_at=ago(minutes=1))
    assert "And for 2 other reasons" in look(client).text


def test_workers_are_shown_with_what_they_do_and_a_lost_one_is_called_lost(client: FlaskClient, session: Any) -> None:
    insert(session, Worker, name="web-1:12", started_at=ago(hours=2), seen_at=ago(seconds=12), doing="waiting")
    insert(session, Worker, name="web-1:11", started_at=ago(hours=3), seen_at=ago(minutes=9), doing="sending")
    text = look(client).text
    assert "web-1:12runningwaiting2 hours ago12 seconds ago" in text
    assert "web-1:11lostsending3 hours ago9 minutes ago" in text


def test_what_strangers_have_written_stays_text(client: FlaskClient, put: Any, session: Any) -> None:
    put(status="failed", failure=HOSTILE, finished_at=ago(minutes=1))
    put(send_at=ago(minutes=5))
    insert(session, Worker, name=HOSTILE, started_at=ago(hours=2), seen_at=ago(seconds=2), doing=HOSTILE)
    insert(session, Health, id=1, reason=HOSTILE, ours=True, failures=3, since=ago(minutes=5), next_try_at=ago(minutes=2))
    page = look(client)
    assert page.text.count(HOSTILE) >= 4
    assert [script.get("src") for script in page.all("script")] == ["/desk/static/refresh.js"]
    assert not any(image.get("src") == "x" for image in page.all("img"))
    assert not any("style" in attributes or any(name.startswith("on") for name in attributes) for _, attributes in page.tags)


def test_the_content_alone_is_what_the_page_holds(client: FlaskClient) -> None:
    content = client.get("/desk/overview/").text
    assert "<html" not in content
    assert 'id="headline"' in content


def test_without_a_database_the_page_says_so(app: Flask, client: FlaskClient, execute: Any) -> None:
    execute("ALTER TABLE mail_email RENAME TO lost")
    page = look(client)
    assert "Mail does not go out." in page.text
    assert "no such table: mail_email" in page.text
    assert "flask db upgrade" in page.text


def test_ids_are_unique_and_every_table_has_headers(client: FlaskClient, put: Any, session: Any) -> None:
    put(status="failed", failure="550 no", finished_at=ago(minutes=1))
    insert(session, Worker, name="w", started_at=ago(hours=2), seen_at=ago(seconds=2), doing="waiting")
    page = look(client)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert all("scope" in header for header in page.all("th"))
    referred = [attributes["aria-labelledby"] for _, attributes in page.tags if "aria-labelledby" in attributes]
    assert set(referred) <= set(ids)


def test_the_button_finds_the_emails_that_it_counts(client: FlaskClient, put: Any) -> None:
    for failure in ('550 5.1.1 …: "User" \\unknown', "550 other"):
        put(status="failed", failure=failure, finished_at=ago(minutes=1))
    links = [link["href"] for link in look(client).all("a") if "retry" in (link.get("id") or "")]
    assert len(links) == 2
    for link in links:
        assert "/desk/email/" in client.get(link or "").text
        assert client.get(link or "").text.count('name="id"') == 1
