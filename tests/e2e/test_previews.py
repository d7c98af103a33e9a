"""The previews of templates in a real browser: every look is what it says, and a mail can do nothing."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.e2e.served import DeskHost

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

HTML = """<!doctype html>
<html lang="en"><head><title>Hi</title><meta name="color-scheme" content="light dark">
<style>body {{ background: rgb(250, 250, 250) }}
@media (prefers-color-scheme: dark) {{ body {{ background: rgb(20, 20, 20) }} }}</style></head>
<body><p>Hello</p><img alt="" src="{elsewhere}/pixel.png"><form action="{elsewhere}/form"><button>x</button></form>
<style>@import url("{elsewhere}/sheet.css");</style><link rel="stylesheet" href="{elsewhere}/link.css">
<script>parent.document.title = "taken"; fetch("{elsewhere}/script")</script></body></html>
"""
# What the browser shows of a body: rgb(250, 250, 250) inverted is rgb(5, 5, 5).
LOOKS = {"Light": (250, 250, 250), "Dark": (20, 20, 20), "Inverted": (5, 5, 5)}


class Host(DeskHost):
    """A served app with one mail; ``fetched`` are the paths that were asked for outside the desk."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.fetched: list[str] = []
        self.app.add_url_rule("/elsewhere/<path:path>", view_func=self._elsewhere)
        self.start()
        mails = folder / "templates" / "mail"
        mails.mkdir(parents=True)
        (mails / "hello.txt").write_text("Hello")
        (mails / "hello.html").write_text(HTML.format(elsewhere=f"{self.url}/elsewhere"))
        (mails / "hello.py").write_text('subject = "Hi"\ndef default(): return {}\ndef other(): return {}\n')

    def _elsewhere(self, path: str) -> str:
        self.fetched.append(path)
        return ""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    host.stop()


def background(page: Page) -> tuple[int, ...]:
    """Return the color of the corner of the mail, as it is painted."""
    frame = page.locator("iframe")
    frame.scroll_into_view_if_needed()
    expect(page.frame_locator("iframe").get_by_text("Hello")).to_be_visible()
    picture = b64encode(frame.screenshot()).decode()
    canvas = page.context.new_page()
    script = """async picture => {
      const image = new Image(); image.src = "data:image/png;base64," + picture; await image.decode();
      const context = document.createElement("canvas").getContext("2d"); context.drawImage(image, 0, 0);
      return [...context.getImageData(60, 5, 1, 1).data].slice(0, 3);
    }"""
    color: list[int] = canvas.evaluate(script, picture)
    canvas.close()
    return tuple(color)


@pytest.mark.browser
@pytest.mark.parametrize("operator", ["light", "dark"])
def test_each_look_is_what_it_says_whatever_the_operators_browser_prefers(browser: Browser, host: Host, operator: Any) -> None:
    context = browser.new_context(color_scheme=operator)
    page = context.new_page()
    page.goto(f"{host.url}/desk/templates/mail/hello/")
    for look, color in LOOKS.items():
        page.get_by_role("link", name=look, exact=True).click()
        expect(page.get_by_role("link", name=look, exact=True)).to_have_attribute("aria-current", "true")
        assert background(page) == pytest.approx(color, abs=2), look
    context.close()


@pytest.mark.browser
def test_a_mail_runs_nothing_fetches_nothing_and_submits_nothing(browser: Browser, host: Host) -> None:
    page = browser.new_page()
    page.goto(f"{host.url}/desk/templates/mail/hello/")
    inside = page.frame_locator("iframe")
    inside.get_by_role("button").click()
    expect(inside.get_by_text("Hello")).to_be_visible()
    assert page.title() == "mail/hello · Mail"
    page.goto(f"{host.url}/desk/template-html/mail/hello/")
    expect(page.get_by_text("Hello")).to_be_visible()
    assert page.title() == "Hi"
    assert host.fetched == []
    page.close()


@pytest.mark.browser
def test_by_keyboard_one_reaches_every_switch_and_sends_the_mail(browser: Browser, host: Host) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 360, "height": 740})
    page = context.new_page()
    page.goto(f"{host.url}/desk/templates/mail/hello/")
    seen = []
    for _ in range(30):
        page.keyboard.press("Tab")
        focused = page.locator(":focus")
        seen.append(focused.inner_text() if focused.count() else "")
        if seen[-1] == "Send me this one":
            break
    assert seen[-9:] == [
        "Default",
        "Other",
        "Fit",
        "Phone, 390 px",
        "Desktop, 1,000 px",
        "Light",
        "Dark",
        "Inverted",
        "Send me this one",
    ]
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Email 1 to operator@example.com is in the outbox")
    context.close()


@pytest.mark.browser
@pytest.mark.parametrize("path", ["", "mail/hello/", "mail/hello/?width=desktop"])
def test_no_page_is_wider_than_a_phone(browser: Browser, host: Host, path: str) -> None:
    page = browser.new_page(viewport={"width": 360, "height": 740})
    page.goto(f"{host.url}/desk/templates/{path}")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.close()
