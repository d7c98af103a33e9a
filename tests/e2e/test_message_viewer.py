"""A stranger's mail in a real browser: nothing runs, nothing is fetched; and the page follows an email that is under way."""

from __future__ import annotations

import threading
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from flask import Flask
from playwright.sync_api import expect

from flask_outbox import Message, enqueue
from flask_outbox.desk import Maildir, mailbox
from flask_outbox.store.models import attempts, contents, emails
from flask_outbox.testing import SmtpServer, reply
from tests.e2e.served import DeskHost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = pytest.mark.browser
# A second: what a page of ours loads is there within 200 ms.
LONG_ENOUGH = 1000


class Listener(ThreadingHTTPServer):
    """A server that counts connections and requests: there must be none."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        super().__init__(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server_port}"

    def _handler(listener) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - two selves
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                listener.heard.append(self.path)
                self.send_response(204)
                self.end_headers()

            do_POST = do_HEAD = do_GET  # noqa: N815 - the library's names

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def get_request(self) -> Any:
        self.heard.append("a connection")
        return super().get_request()


@pytest.fixture
def listener() -> Iterator[Listener]:
    server = Listener()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def served_host(tmp_path: Path, smtp: SmtpServer) -> Iterator[DeskHost]:
    host = DeskHost(tmp_path, MAIL_SERVER="127.0.0.1", MAIL_PORT=smtp.port)
    host.app.register_blueprint(mailbox(development=True), url_prefix="/mailbox")
    host.start()
    with host.app.app_context():
        yield host
    host.stop()


@pytest.fixture
def host(served_host: DeskHost) -> Flask:
    return served_host.app


@pytest.fixture
def url(served_host: DeskHost) -> str:
    return served_host.url


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context()
    context.set_default_timeout(5000)
    yield context
    context.close()


def hostile(evil: str) -> str:
    """Return HTML with every way out of a frame that we know of; *evil* is the listener's URL, RUN stands for a script."""
    run = f"fetch('{evil}/ran');document.title='ran';new Image().src='{evil}/ran';top.location='{evil}/ran'"
    return (Path(__file__).parent / "hostile.html").read_text().replace("RUN", run).replace("EVIL", evil)


def store(host: Flask, html: str, **columns: Any) -> int:
    email_id = enqueue(Message("Your order", ["ada@example.org"], "text", html))[0].id
    with host.extensions["mail"].engine.begin() as connection:
        if columns:
            connection.execute(sa.update(emails).values(**columns))
    return email_id


def raw(html: str, **headers: str) -> bytes:
    message = EmailMessage()
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    message.set_content("text")
    message.add_alternative(html, subtype="html")
    return message.as_bytes()


def click(page: Page, *names: str) -> None:
    frame = page.frame_locator("iframe.mail-html")
    for name in names:
        # The one before may have led the frame away.
        if frame.locator(f"#{name}").count():
            frame.locator(f"#{name}").dispatch_event("click")
            page.wait_for_timeout(LONG_ENOUGH / 2)


@pytest.mark.parametrize("colours", ["light", "inverted"])
def test_a_hostile_message_runs_nothing_and_fetches_nothing(
    host: Flask, url: str, context: BrowserContext, listener: Listener, colours: str, tmp_path: Path
) -> None:
    email_id = store(host, hostile(listener.url))
    maildir = Maildir(tmp_path / "mailbox")
    maildir.create()
    maildir.add("1.localhost", raw(hostile(listener.url), Subject="x", To="b@example.com"))
    page = context.new_page()
    # Alone in a tab, where no frame protects it.
    page.goto(f"{url}/mailbox/1.localhost/html?colours={colours}")
    page.wait_for_timeout(LONG_ENOUGH)
    assert page.title() != "ran"
    for path in (f"/desk/email/{email_id}/?show=message&colours={colours}", f"/mailbox/1.localhost/?colours={colours}"):
        page.goto(url + path)
        title = page.title()
        expect(page.frame_locator("iframe.mail-html").locator("#end")).to_be_visible()
        page.wait_for_timeout(LONG_ENOUGH)
        click(page, "submit", "script", "data")
        assert page.title() == title != "ran"
    assert listener.heard == []
    # A link is followed by whoever clicks it: Chromium connects, and then the frame does not go there.
    click(page, "self", "top")
    assert page.url == url + path
    assert set(listener.heard) <= {"a connection"}


def test_hostile_words_everywhere_else_are_words(
    host: Flask, url: str, context: BrowserContext, listener: Listener, tmp_path: Path
) -> None:
    evil = f"\"'><script>fetch('{listener.url}')</script><img src='{listener.url}/x' onerror=alert(1)>{{{{7*7}}}}"
    short = evil[:200]
    email_id = store(host, "<p>x", template=short, key=short, reply=evil, status="failed", failure=short, recipient=evil)
    with host.extensions["mail"].engine.begin() as connection:
        connection.execute(sa.update(contents).values(subject=evil, sender=evil, message_id=evil, origin=short, request_id=short))
        row = {"email_id": email_id, "seconds": 1.0, "worker": evil[:100], "outcome": "refused", "code": 550, "reply": evil}
        connection.execute(sa.insert(attempts).values(row | {"started_at": sa.select(emails.c.created_at).scalar_subquery()}))
    maildir = Maildir(tmp_path / "mailbox")
    maildir.create()
    name = '../../"; filename="x.html'
    message = EmailMessage()
    message["Subject"], message["From"], message["X-Evil"] = evil, f'"{evil}" <a@example.com>', evil
    message.set_content(evil)
    message.add_attachment(b"<script>alert(1)</script>", maintype="text", subtype="html", filename=name)
    message.add_attachment(
        f"<svg xmlns='http://www.w3.org/2000/svg' onload=\"fetch('{listener.url}')\"/>".encode(), "image", "svg+xml"
    )
    maildir.add("1.localhost", message.as_bytes())
    page = context.new_page()
    page.on("dialog", lambda dialog: listener.heard.append("a dialog"))
    for path in (f"/desk/email/{email_id}/?show=message", "/mailbox/", "/mailbox/1.localhost/"):
        page.goto(url + path)
        expect(page.get_by_text("{{7*7}}").first).to_be_visible()
        assert page.locator("main script, main img[onerror]").count() == 0
    for number in (0, 1):
        with page.expect_download() as download:
            page.locator("ul.files a").nth(number).click()
        assert "/" not in download.value.suggested_filename
        assert ".." not in download.value.suggested_filename
    page.wait_for_timeout(LONG_ENOUGH)
    assert listener.heard == []


DARK = """<html><head><meta name="color-scheme" content="light dark"><style>body{background:#fff}
@media (prefers-color-scheme: dark){body{background:rgb(1,2,3)}}</style></head><body>x<img src="cid:logo"></body></html>"""


@pytest.mark.parametrize("screen", ["light", "dark"])
def test_the_colours_and_widths_are_switched_without_javascript(host: Flask, url: str, browser: Browser, screen: Any) -> None:
    email_id = store(host, DARK)
    context = browser.new_context(color_scheme=screen, java_script_enabled=False, viewport={"width": 1280, "height": 2000})
    page = context.new_page()
    page.goto(f"{url}/desk/email/{email_id}/")
    page.get_by_role("link", name="Show the message").click()
    for colours, background in (("Dark", "rgb(1, 2, 3)"), ("Light", "rgb(255, 255, 255)"), ("Inverted", "rgb(255, 255, 255)")):
        page.get_by_role("link", name=colours, exact=True).click()
        expect(page.get_by_role("link", name=colours, exact=True)).to_have_attribute("aria-current", "true")
        expect(page.frame_locator("iframe").locator("body")).to_have_css("background-color", background)
    for width, pixels in (("Phone", 390), ("Desktop", 1000)):
        page.get_by_role("link", name=width).click()
        box = page.locator("iframe").bounding_box()
        assert box is not None
        assert box["width"] == pixels
    context.close()


@pytest.mark.parametrize("width", [360, 1280])
def test_the_pages_fit_their_screens(host: Flask, url: str, browser: Browser, width: int, tmp_path: Path) -> None:
    email_id = store(host, "<p>x</p>", reply="550 " + "x" * 300, status="failed", key="k" * 200)
    maildir = Maildir(tmp_path / "mailbox")
    maildir.create()
    maildir.add("1.localhost", raw("<p>x</p>", Subject="s" * 200, To="b" * 60 + "@example.com", X_Long="h" * 500))
    context = browser.new_context(viewport={"width": width, "height": 800})
    page = context.new_page()
    for path in (f"/desk/email/{email_id}/?show=message&width=desktop", "/mailbox/", "/mailbox/1.localhost/?width=desktop"):
        page.goto(url + path)
        for summary in page.locator("summary").all():
            summary.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    context.close()


def test_a_retry_shows_by_itself_what_became_of_it_and_then_is_quiet(
    host: Flask, url: str, context: BrowserContext, smtp: SmtpServer
) -> None:
    email_id = store(host, "<p>x</p>")
    smtp.on("RCPT", reply("550 5.1.1 no such user"), reply("451 4.7.1 later"))
    state = host.extensions["mail"]
    state.deliver()
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{url}/desk/email/{email_id}/")
    expect(page.get_by_text("No: the mail server has refused it")).to_be_visible()
    page.get_by_role("button", name="Retry").press("Enter")
    expect(page.get_by_text("Queued again. This page shows what becomes of it.")).to_be_visible()
    state.deliver()
    expect(page.locator(".said")).to_contain_text("Not yet: the mail server put it off")
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    with state.engine.begin() as connection:
        connection.execute(sa.update(emails).values(send_at=emails.c.created_at))
    state.deliver()
    expect(page.locator(".said")).to_contain_text("The mail server has accepted it", timeout=10000)
    expect(page.locator("#said")).to_contain_text("The mail server has accepted it")
    expect(page.get_by_role("button", name="Retry")).to_have_count(0)
    asked.clear()
    page.wait_for_timeout(2500)
    assert asked == []


def test_the_mailbox_shows_new_mail_and_keeps_the_keyboards_place(
    host: Flask, url: str, context: BrowserContext, tmp_path: Path
) -> None:
    maildir = Maildir(tmp_path / "mailbox")
    maildir.create()
    page = context.new_page()
    page.goto(f"{url}/mailbox/")
    expect(page.get_by_text("No mail yet")).to_be_visible()
    maildir.add("1.localhost", raw("<p>x</p>", Subject="first"))
    first = page.get_by_role("link", name="first")
    expect(first).to_be_visible(timeout=3000)
    first.focus()
    maildir.add("2.localhost", raw("<p>x</p>", Subject="second"))
    expect(page.get_by_role("link", name="second")).to_be_visible(timeout=3000)
    expect(first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="first")).to_be_visible()
    page.get_by_role("button", name="Delete this mail").press("Enter")
    expect(page.get_by_role("link", name="second")).to_be_visible()
    expect(page.get_by_role("link", name="first")).to_have_count(0)
