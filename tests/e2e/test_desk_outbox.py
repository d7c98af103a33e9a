"""The desk's outbox in a real browser: new emails appear, selected rows stay, and an action works itself off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from playwright.sync_api import expect

from flask_outbox import Message, enqueue
from flask_outbox.store.models import Audit, Content, Email
from flask_outbox.store.operations import bulk
from flask_outbox.store.operations.operator import Operator
from tests.e2e.served import DeskHost

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
HOSTILE = "<script>document.title='bad'</script>\"'><img src=x onerror=\"document.title='bad'\">"


class Host(DeskHost):
    """A served app with a desk, and what a test does to its outbox."""

    def put(self, count: int = 1, status: str = "queued", **columns: Any) -> None:
        with self.session() as session:
            for _ in range(count):
                (email,) = enqueue(Message("hi", ["b@example.com"], "text"))
                session.commit()
                if "subject" in columns:
                    session.execute(sa.update(Content).where(Content.id == email.content_id).values(subject=columns["subject"]))
                others = {name: value for name, value in columns.items() if name != "subject"}
                session.execute(sa.update(Email).where(Email.id == email.id).values(status=status, **others))

    def statuses(self) -> list[str]:
        with self.session() as session:
            return list(session.scalars(sa.select(Email.status).order_by(Email.id)))


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    host.start()
    yield host
    host.stop()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 600})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    yield page
    page.close()
    assert errors == []


def rows(page: Page) -> list[str]:
    return page.locator("#list tbody tr").evaluate_all("rows => rows.map(row => row.dataset.id)")


def test_new_emails_appear_and_the_place_is_kept(host: Host, page: Page) -> None:
    host.put(20)
    page.goto(f"{host.url}/desk/outbox/")
    assert len(rows(page)) == 20
    page.locator("tr[data-id='5']").scroll_into_view_if_needed()
    top = page.locator("tr[data-id='5']").bounding_box()["y"]
    host.put(2)
    with host.session() as session:
        session.execute(sa.update(Email).where(Email.id == 5).values(status="sent", reply="250 ok"))
    expect(page.locator("#list tbody tr")).to_have_count(22, timeout=15_000)
    assert rows(page)[:3] == ["22", "21", "20"]
    expect(page.locator("tr[data-id='5'] .badge")).to_have_text("sent")
    assert abs(page.locator("tr[data-id='5']").bounding_box()["y"] - top) < 3
    expect(page.locator("#news")).to_have_text("2 new emails")
    expect(page.locator("#tabs")).to_contain_text("Sent 1", timeout=15_000)


def test_while_rows_are_selected_new_ones_wait_behind_a_button(host: Host, page: Page) -> None:
    host.put(3)
    page.goto(f"{host.url}/desk/outbox/")
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_be_disabled()
    page.get_by_label("Select email 2 to b@example.com").check()
    expect(page.locator("#selected")).to_have_text("With 1 selected email:")
    host.put(3)
    link = page.get_by_role("link", name="Show 3 new emails")
    expect(link).to_be_visible(timeout=15_000)
    assert rows(page) == ["3", "2", "1"]
    assert page.get_by_label("Select email 2 to b@example.com").is_checked()
    link.click()
    expect(page.locator("#list tbody tr")).to_have_count(6)


def test_an_empty_outbox_fills(host: Host, page: Page) -> None:
    page.goto(f"{host.url}/desk/outbox/")
    expect(page.get_by_text("The outbox is empty.")).to_be_visible()
    host.put()
    expect(page.locator("#list tbody tr")).to_have_count(1, timeout=15_000)
    expect(page.get_by_text("The outbox is empty.")).to_have_count(0)


def test_a_hidden_page_asks_nothing(host: Host, page: Page) -> None:
    host.put()
    page.add_init_script("Object.defineProperty(document, 'hidden', {get: () => window.isHidden ?? true})")
    page.goto(f"{host.url}/desk/outbox/")
    page.wait_for_timeout(4500)
    assert "/desk/outbox/new/" not in host.asked
    page.evaluate("window.isHidden = false; document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator("#news")).to_be_attached()
    for _ in range(50):
        if "/desk/outbox/new/" in host.asked:
            return
        page.wait_for_timeout(100)
    pytest.fail("it asks nothing any more")


def test_by_keyboard_alone_one_selects_emails_and_cancels_them(host: Host, page: Page) -> None:
    host.put(3)
    page.goto(f"{host.url}/desk/outbox/")
    page.get_by_label("Select all shown").focus()
    page.keyboard.press("Space")
    expect(page.locator("#selected")).to_have_text("With 3 selected emails:")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.value") == "cancel"
    page.keyboard.press("Enter")
    expect(page.locator("#result")).to_have_text("3 of 3 emails cancelled")
    assert host.statuses() == ["cancelled"] * 3


def test_an_action_on_a_search_works_itself_off(host: Host, page: Page, monkeypatch: Any) -> None:
    monkeypatch.setattr(bulk, "CHUNK", 2)
    monkeypatch.setattr("flask_outbox.desk.pages.actions.STEP", 0)
    host.put(7, "failed")
    page.goto(f"{host.url}/desk/outbox/?q=status:failed")
    page.get_by_role("link", name="Retry …").click()
    expect(page.locator("#found")).to_have_text("7 emails")
    page.get_by_role("button", name="Retry them all").click()
    expect(page.locator("#state")).to_have_text("Finished.", timeout=15_000)
    expect(page.locator("#result")).to_have_text("7 of 7 emails queued again")
    assert host.statuses() == ["queued"] * 7
    assert host.asked.count("/desk/actions/1/step/") == 4


def test_who_looks_at_an_unfinished_action_does_not_go_on_with_it(host: Host, page: Page) -> None:
    host.put(2, "failed")
    with host.app.app_context():
        bulk.begin(host.db.engine, "retry", "status:failed", 2, Operator("bob", "192.0.2.1"))
    page.goto(f"{host.url}/desk/actions/1/")
    page.wait_for_timeout(500)
    expect(page.locator("#state")).to_have_text("Not finished.")
    assert host.statuses() == ["failed"] * 2
    page.get_by_role("button", name="Continue").click()
    expect(page.locator("#state")).to_have_text("Finished.", timeout=15_000)
    with host.session() as session:
        assert session.scalar(sa.select(Audit.detail)) == "continued by susan"


def test_a_long_search_goes_on_by_itself(host: Host, page: Page, monkeypatch: Any) -> None:
    for name, value in {"FIRST_WINDOW": 2, "LARGEST_WINDOW": 2}.items():
        monkeypatch.setattr(f"flask_outbox.store.reading.search.scan.{name}", value)
    for name in ("FIND", "COUNT", "COUNT_ON"):
        monkeypatch.setattr(f"flask_outbox.desk.pages.outbox.{name}", 0)
    host.put(1, subject="invoice 1")
    host.put(8)
    host.put(1, subject="invoice 2")
    page.goto(f"{host.url}/desk/outbox/?q=invoice")
    expect(page.locator("#list tbody tr")).to_have_count(2, timeout=15_000)
    expect(page.locator("#search-on")).to_have_count(0)
    expect(page.locator("#found")).to_have_text("2 emails found")
    assert rows(page) == ["10", "1"]


def test_what_strangers_write_runs_nothing(host: Host, page: Page) -> None:
    host.put(1, "failed", subject=HOSTILE, reply=HOSTILE, template=HOSTILE, failure=HOSTILE[:200], recipient=f"{HOSTILE}@x.example")
    with host.app.app_context():
        bulk.begin(host.db.engine, "retry", f"'{HOSTILE.split(maxsplit=1)[0]}", 2, Operator(HOSTILE, HOSTILE[:100]))
    for path in ("outbox/", "actions/preview/?action=retry&q=", "actions/1/", "audit/"):
        page.goto(f"{host.url}/desk/{path}")
        assert page.title() != "bad"
        assert page.locator("main img, main script").count() == 0
    page.goto(f"{host.url}/desk/outbox/")
    host.put(1, "failed", subject=HOSTILE)
    expect(page.locator("#list tbody tr")).to_have_count(2, timeout=15_000)
    assert page.title() != "bad"
    assert page.locator("main img, main script").count() == 0


def test_it_works_without_scripts(host: Host, browser: Browser) -> None:
    host.put(3, "failed")
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{host.url}/desk/outbox/")
        page.get_by_label("Select email 3 to b@example.com").check()
        page.get_by_label("Select email 2 to b@example.com").check()
        page.get_by_role("button", name="Retry", exact=True).click()
        expect(page.locator("#result")).to_have_text("2 of 2 emails queued again")
        page.goto(f"{host.url}/desk/outbox/?q=status:failed")
        page.get_by_role("link", name="Retry …").click()
        page.get_by_role("button", name="Retry it").click()
        page.get_by_role("button", name="Continue").click()
        expect(page.locator("#state")).to_have_text("Finished.")
    assert host.statuses() == ["queued"] * 3


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_screen(host: Host, page: Page, width: int) -> None:
    host.put(2, "failed", subject="x" * 300, reply="y" * 300, template="z" * 150)
    with host.app.app_context():
        bulk.begin(host.db.engine, "retry", f"subject:{'x' * 200}", 2, Operator("w" * 200, "192.0.2.1"))
    page.set_viewport_size({"width": width, "height": 800})
    for path in ("outbox/", f"outbox/?q={'x' * 200}", "actions/preview/?action=retry&q=", "actions/1/", "audit/"):
        page.goto(f"{host.url}/desk/{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
