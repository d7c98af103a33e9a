"""The overview in a real browser: it refreshes itself without taking anything away from its reader."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from flask import request
from playwright.sync_api import expect

from flask_outbox import Message, enqueue
from flask_outbox.store.models import Email
from flask_outbox.store.status import kept
from tests.e2e.served import DeskHost

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser


class Host(DeskHost):
    """A served app with a desk, whose overview can be down."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.is_down = False
        self.app.before_request(self._answer)
        self.start()

    def _answer(self) -> Any:
        return ("down", 503) if self.is_down and request.path.endswith("/overview/") else None

    @property
    def refreshes(self) -> int:
        return self.asked.count("/desk/overview/")

    def fail(self, failure: str) -> None:
        """Add an email that failed."""
        with self.app.app_context():
            email = enqueue(Message("hi", ["b@example.com"], "text"))[0]
            self.db.session.execute(sa.update(Email).where(Email.id == email.id).values(status="failed", failure=failure))
            self.db.session.commit()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    # The page's time is moved on, but not the server's.
    monkeypatch.setattr(kept, "SHORTEST", 0.0)
    monkeypatch.setattr(kept, "FACTOR", 0.0)
    one = Host(tmp_path)
    yield one
    one.stop()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page whose time a test moves on; nothing on it may complain on the console."""
    context = browser.new_context()
    context.set_default_timeout(5000)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if "503" not in message.text else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.clock.install()
    yield page
    context.close()
    assert complaints == []


def test_new_figures_appear_and_nothing_that_the_reader_does_is_lost(host: Host, page: Page) -> None:
    host.fail("550 first")
    page.goto(f"{host.url}/desk/")
    page.locator("#show-good").click()
    link = page.get_by_role("link", name="550 first", exact=True)
    link.focus()
    page.evaluate("scrollTo(0, 300)")
    host.fail("550 second")
    page.clock.run_for(6000)
    expect(page.get_by_role("link", name="550 second", exact=True)).to_be_visible()
    expect(link).to_be_focused()
    expect(page.locator("#figures-good")).to_have_attribute("open", "")
    assert page.evaluate("scrollY") == 300


def test_a_paused_page_does_not_ask_again(host: Host, page: Page) -> None:
    page.goto(f"{host.url}/desk/")
    page.get_by_role("button", name="Stop refreshing").click()
    page.clock.run_for(30_000)
    assert host.refreshes == 0
    page.get_by_role("button", name="Refresh again").click()
    with page.expect_response("**/overview/**"):
        page.clock.run_for(6000)


def test_selected_text_stays_selected(host: Host, page: Page) -> None:
    page.goto(f"{host.url}/desk/")
    page.evaluate("getSelection().selectAllChildren(document.querySelector('#headline'))")
    page.clock.run_for(20_000)
    assert host.refreshes == 0


def test_an_error_is_waited_out_and_the_figures_stay(host: Host, page: Page) -> None:
    page.goto(f"{host.url}/desk/")
    host.is_down = True
    with page.expect_response("**/overview/**"):
        page.clock.run_for(6000)
    expect(page.locator("#headline")).to_be_visible()
    host.is_down = False
    host.fail("550 later")
    later = page.get_by_role("link", name="550 later", exact=True)
    for _ in range(20):
        # The page sets its next timer when it has read the answer, which takes real time.
        page.clock.run_for(5000)
        if later.is_visible():
            break
        time.sleep(0.1)
    expect(later).to_be_visible()


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_is_no_wider_than_the_screen(host: Host, page: Page, width: int) -> None:
    host.fail("550 5.1.1 " + "averylongwordwithoutaspace" * 6)
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(f"{host.url}/desk/")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_without_javascript_everything_is_there(host: Host, browser: Browser) -> None:
    host.fail("550 first")
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{host.url}/desk/")
    expect(page.get_by_role("link", name="550 first", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Stop refreshing")).to_have_count(0)
    page.get_by_role("link", name="week").click()
    expect(page.get_by_role("heading", name="In the last 7 days")).to_be_visible()
    context.close()
