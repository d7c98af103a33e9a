"""What `make run` starts, as a stranger meets it: in a real browser, with the real processes."""

from __future__ import annotations

import re
import signal
import stat
import time
from typing import TYPE_CHECKING

import psutil
import pytest
import requests
from playwright.sync_api import expect

from tests.servers import RedisServer, Visitor, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, BrowserContext, Page

    from tests.e2e.checkout import Checkout, GroupProcess

# It takes two on a fast machine; what is meant is that nobody waits for an installation.
SECONDS_TO_START = 10


@pytest.fixture(scope="module")
def running(make_checkout: Callable[[], Checkout]) -> Iterator[Checkout]:
    """One site for the tests that only look at it."""
    checkout = make_checkout()
    with checkout.running():
        yield checkout


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., BrowserContext]]:
    """A function that makes a browser context of its own; none of its pages may complain on the console."""
    contexts, complaints = [], []

    def make(**options: object) -> BrowserContext:
        context = browser.new_context(**options)
        context.set_default_timeout(5000)
        context.on("console", lambda message: complaints.append(message.text) if message.type in {"error", "warning"} else None)
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        contexts.append(context)
        return context

    yield make
    for context in contexts:
        context.close()
    assert complaints == []


def type_name(page: Page, name: str) -> None:
    page.get_by_label("What is your name?").fill(name)
    page.keyboard.press("Enter")


@pytest.mark.browser
def test_a_typed_name_is_greeted_and_within_a_second_its_mail_stands_in_the_mailbox(
    running: Checkout, visit: Callable[..., BrowserContext]
) -> None:
    context = visit()
    mailbox, page = context.new_page(), context.new_page()
    mailbox.goto(f"{running.url}/mailbox/")
    expect(mailbox.get_by_text("No mail yet")).to_be_visible()
    page.goto(running.url)
    expect(page.get_by_role("heading", name="Hello, Stranger!")).to_be_visible()

    type_name(page, "Zoë 智子")
    expect(page.get_by_role("heading", name="Hello, Zoë 智子!")).to_be_visible()
    expect(page.get_by_text("Pleased to meet you!")).to_be_visible()
    wait_until(lambda: "New User" in requests.get(f"{running.url}/mailbox/list", timeout=5).text, 1.0, "the mail")

    # The list looks for news every second.
    mail = mailbox.get_by_role("link", name=re.compile("New User"))
    expect(mail).to_be_visible(timeout=2000)
    mail.click()
    expect(mailbox.frame_locator("iframe").get_by_text("Zoë 智子")).to_be_visible()
    expect(mailbox.locator("pre.mail-text")).to_contain_text("Zoë 智子")

    page.reload()
    expect(page.get_by_role("heading", name="Hello, Zoë 智子!")).to_be_visible()
    expect(page.get_by_text("Pleased to meet you!")).to_be_visible()
    mailbox.goto(f"{running.url}/mailbox/")
    expect(mailbox.get_by_role("link", name=re.compile("New User"))).to_have_count(1)


@pytest.mark.browser
def test_a_name_that_is_known_is_welcomed_back_in_another_browser(running: Checkout, visit: Callable[..., BrowserContext]) -> None:
    for greeting in ("Pleased to meet you!", "Happy to see you again!"):
        page = visit().new_page()
        page.goto(running.url)
        type_name(page, "susan")
        expect(page.get_by_text(greeting)).to_be_visible()


@pytest.mark.browser
def test_the_pages_fit_a_phone(running: Checkout, visit: Callable[..., BrowserContext]) -> None:
    page = visit(viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True).new_page()
    page.goto(running.url)
    page.get_by_label("What is your name?").tap()
    page.keyboard.type("ada")
    page.get_by_role("button", name="Submit").tap()
    expect(page.get_by_role("heading", name="Hello, ada!")).to_be_visible()
    wait_until(lambda: "New User" in requests.get(f"{running.url}/mailbox/list", timeout=5).text)
    for path in ("/", "/mailbox/"):
        page.goto(running.url + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
    page.get_by_role("link", name=re.compile("New User")).first.tap()
    expect(page.locator("pre.mail-text")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def stop_and_look(checkout: Checkout, process: GroupProcess, stop: Callable[[], None]) -> None:
    """Stop it, and see that nothing is left of it."""
    family = psutil.Process(process.popen.pid).children(recursive=True)
    assert len(family) >= 4
    stop()
    assert process.end() == 0, process.output
    wait_until(lambda: not checkout.processes() and not any(map(psutil.Process.is_running, family)), 2, "the end of all")
    assert "Traceback" not in process.output


def test_it_stops_without_a_trace_and_starts_again_in_seconds_with_the_dotenv_that_is_there(checkout: Checkout) -> None:
    with checkout.running() as process:
        stop_and_look(checkout, process, lambda: process.signal_group(signal.SIGINT))

    port = checkout.env.pop("PORT")
    own = (
        f"SECRET_KEY=0123456789abcdef\nFLASKY_ADMIN=own@example.com\nFLASKY_MAIL_SENDER=Own Sender <own@example.com>\nPORT={port}\n"
    )
    dotenv = checkout.folder / ".env"
    dotenv.write_text(own)
    begin = time.monotonic()
    with checkout.running() as process:
        assert time.monotonic() - begin < SECONDS_TO_START
        assert dotenv.read_text() == own
        visitor = Visitor(checkout.url)
        visitor.type_name("susan")
        visitor.close()
        mail = "Own Sender &lt;own@example.com&gt; → own@example.com"
        wait_until(lambda: mail in requests.get(f"{checkout.url}/mailbox/list", timeout=5).text)
        stop_and_look(checkout, process, lambda: process.signal(signal.SIGTERM))


def test_stopping_in_the_middle_of_the_start_leaves_no_process_behind(checkout: Checkout) -> None:
    process = checkout.start()
    try:
        wait_until(lambda: len(checkout.processes()) > 2, 20, "the first processes")
        process.signal_group(signal.SIGINT)
        process.end()
        wait_until(lambda: not checkout.processes(), 2, "the end of all")
    finally:
        checkout.clean_up()


def test_a_taken_port_is_said_in_a_sentence_with_the_way_to_choose_another(checkout: Checkout, own_redis: RedisServer) -> None:
    checkout.env["PORT"] = str(own_redis.port)
    process = checkout.start()
    assert process.end() != 0
    said = rf"Port {own_redis.port} is taken by another program\. Choose another: make run PORT=\d+\n"
    assert re.fullmatch(said, process.output)


def test_a_port_that_is_no_number_is_said_too(checkout: Checkout) -> None:
    checkout.env |= {"PORT": "http", "REDIS_PORT": "99999"}
    process = checkout.start()
    assert process.end() != 0
    assert process.output.splitlines() == [
        "PORT=http is no port. Choose one: make run PORT=5000",
        "REDIS_PORT=99999 is no port. Choose one: make run REDIS_PORT=6399",
    ]


def test_each_new_dotenv_has_a_key_of_its_own_and_is_its_owners_alone(make_checkout: Callable[[], Checkout]) -> None:
    keys = set()
    for checkout in (make_checkout(), make_checkout()):
        checkout.env["PORT"] = "none, so that nothing is started"
        checkout.start().end()
        dotenv = checkout.folder / ".env"
        keys.add(re.search(r"^SECRET_KEY=([0-9a-f]{64})$", dotenv.read_text(), re.MULTILINE).group(1))
        assert stat.S_IMODE(dotenv.stat().st_mode) == 0o600
    assert len(keys) == 2


def test_every_wrong_variable_is_listed_at_once_and_nothing_is_started(checkout: Checkout) -> None:
    (checkout.folder / ".env").write_text("MAIL_PORT=abc\nMAIL_USE_TLS=perhaps\nFLASKY_ADMIN=nobody\n")
    process = checkout.start()
    assert process.end() != 0
    first, *rest = process.output.splitlines()
    assert first == "The configuration is wrong:"
    assert [line.split()[1] for line in rest] == ["MAIL_PORT", "MAIL_USE_TLS", "FLASKY_ADMIN"]
    assert not checkout.processes()
