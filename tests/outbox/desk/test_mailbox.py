"""The development mailbox of any app: search, unread marks, delete, lint; and it refuses to run in production."""

from __future__ import annotations

import re
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask

from flask_outbox import ConfigurationError
from flask_outbox.desk import Maildir, mailbox

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flask.testing import FlaskClient


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    app = Flask(__name__, instance_path=str(tmp_path))
    app.config.update(SECRET_KEY="a key for tests alone", TESTING=True)
    app.register_blueprint(mailbox(), url_prefix="/mailbox")
    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def maildir(tmp_path: Path) -> Maildir:
    maildir = Maildir(tmp_path / "mailbox")
    maildir.create()
    return maildir


@pytest.fixture
def receive(maildir: Maildir) -> Callable[..., str]:
    """Receive a mail, and return the URL of its page."""
    numbers = iter(range(100))

    def receive(subject: str = "hello", text: str = "words", sender: str = "a@example.com") -> str:
        message = EmailMessage()
        message["Subject"], message["From"], message["To"] = subject, sender, "Zoë <zoe@example.org>"
        message.set_content(text)
        name = f"{next(numbers):020d}.localhost"
        maildir.add(name, message.as_bytes())
        return f"/mailbox/{name}/"

    return receive


def listed(client: FlaskClient, search: str = "") -> list[str]:
    page = client.get("/mailbox/list", query_string={"q": search}).text
    return re.findall(r'<span class="subject">(?:<span[^>]*>new</span> )?([^<]*)', page)


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("", ["Rechnung", "Grüße"]),
        ("grüße", ["Grüße"]),
        ("GRÜSSE", []),
        ("example.net", ["Rechnung"]),
        ("zoë", ["Rechnung", "Grüße"]),
        ("milk", ["Grüße"]),
        ("zoe@ rechnung", ["Rechnung"]),
        ("rechnung milk", []),
        ("%", []),
    ],
)
def test_a_search_looks_at_subject_addresses_and_text(client: FlaskClient, receive: Any, search: str, found: list[str]) -> None:
    receive("Grüße", "milk and honey")
    receive("Rechnung", "4711", sender="b@example.net")
    assert listed(client, search) == found
    page = client.get("/mailbox/", query_string={"q": search}).text
    assert ("No mail has these words" in page) is (not found)


def test_a_mail_is_new_until_somebody_looks_at_it(client: FlaskClient, receive: Any, maildir: Maildir) -> None:
    url = receive()
    receive("another")
    assert maildir.count_unread() == 2
    assert client.get("/mailbox/list").text.count(">new</span>") == 2
    assert client.get(url).status_code == 200
    assert client.get(url).status_code == 200
    assert maildir.count_unread() == 1
    assert listed(client) == ["another", "hello"]
    assert client.get("/mailbox/list").text.count(">new</span>") == 1
    assert client.get(f"{url}source").data.endswith(b"words\n")


def test_the_list_says_when_it_differs(client: FlaskClient, receive: Any) -> None:
    def version() -> str:
        found = re.search(r'data-version="([^"]*)"', client.get("/mailbox/list").text)
        assert found
        return found[1]

    versions = [version()]
    urls = [receive(), receive()]
    versions.append(version())
    client.get(urls[0])
    versions.append(version())
    delete(client, urls[1])
    versions.append(version())
    assert len(set(versions)) == len(versions)
    assert version() == versions[-1]


def delete(client: FlaskClient, url: str) -> Any:
    page = client.get(url).text
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found
    return client.post(f"{url}delete", data={"csrf_token": found[1]})


def test_one_mail_is_deleted_and_the_others_stay(client: FlaskClient, receive: Any) -> None:
    url = receive("first")
    receive("second")
    assert client.get(url).status_code == 200
    answer = delete(client, url)
    assert (answer.status_code, answer.location) == (303, "/mailbox/")
    assert listed(client) == ["second"]
    assert client.get(url).status_code == 404
    assert "it has been deleted" in client.get(url).text


def test_all_mail_is_deleted_read_or_not(client: FlaskClient, receive: Any) -> None:
    client.get(receive())
    receive()
    assert delete(client, "/mailbox/").status_code == 303
    assert listed(client) == []
    assert "No mail yet" in client.get("/mailbox/").text


def test_nothing_is_deleted_without_the_token(client: FlaskClient, receive: Any) -> None:
    url = receive()
    for path in (f"{url}delete", "/mailbox/delete"):
        assert client.post(path).status_code == 400
        assert client.post(path, data={"csrf_token": "wrong"}).status_code == 400
        assert client.get(path, follow_redirects=True).status_code in {404, 405}
    assert listed(client) == ["hello"]


def test_what_lint_says_is_shown_beside_the_mail(client: FlaskClient, receive: Any) -> None:
    page = client.get(receive(text="Hello\nFish &amp; <b>Chips</b>")).text
    assert "text, line 2:</strong> the reader sees &amp;amp;." in page
    assert "the reader sees &lt;b&gt;." in page
    assert "Nothing is wrong with this mail" in client.get(receive()).text


def test_a_mail_that_another_process_moves_or_deletes_meanwhile_is_no_error(maildir: Maildir, receive: Any) -> None:
    receive()
    (mail,) = maildir.newest()
    (again,) = maildir.newest()
    read = maildir.mark_read(mail)
    assert again.source == read.source != b""
    assert maildir.mark_read(again) == read
    assert again.received == read.received
    maildir.delete(read)
    assert again.source == b""
    maildir.delete(again)


def test_it_is_for_development_alone() -> None:
    app = Flask(__name__)
    app.secret_key = "k"
    with pytest.raises(ConfigurationError, match="do not register it in production"):
        app.register_blueprint(mailbox())
    with pytest.raises(ConfigurationError, match="SECRET_KEY: set it"):
        Flask(__name__).register_blueprint(mailbox(development=True))
    app.register_blueprint(mailbox(development=True), url_prefix="/mailbox")
    assert app.test_client().get("/mailbox/").status_code == 200


def test_every_answer_has_a_strict_policy(client: FlaskClient, receive: Any) -> None:
    url = receive()
    for path in ("/mailbox/", "/mailbox/list", url, "/mailbox/static/desk.css"):
        with client.get(path) as answer:
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'"), path
            assert "unsafe" not in answer.headers["Content-Security-Policy"]
