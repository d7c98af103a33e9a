"""What `make run` starts, as a stranger meets it: in a real browser, with the real processes."""

from __future__ import annotations

import io
import re
import signal
import stat
import time
from typing import TYPE_CHECKING

import psutil
import pytest
import requests
from dotenv import dotenv_values
from playwright.sync_api import expect

from scripts import run
from tests.servers import RedisServer, Visitor, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

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
    expect(mailbox.locator("pre.mail-text")).to_contain_text("User Zoë 智子 has joined.")

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
        assert dotenv.read_text().startswith(own)
        assert run.read_dotenv(dotenv) == dict(dotenv_values(stream=io.StringIO(own))) | {
            "FLASKY_DEV": "on",
            "FLASKY_MAILBOX_PORT": checkout.env["MAILBOX_PORT"],
            "MAIL_SERVER": "127.0.0.1",
            "MAIL_PORT": checkout.env["MAILBOX_PORT"],
            "REDIS_URL": f"redis://127.0.0.1:{checkout.env['REDIS_PORT']}/0",
            "WEB_CONCURRENCY": "1",
        }
        visitor = Visitor(checkout.url)
        visitor.type_name("susan")
        visitor.close()
        mail = "Own Sender &lt;own@example.com&gt; → own@example.com"
        wait_until(lambda: mail in requests.get(f"{checkout.url}/mailbox/list", timeout=5).text)
        stop_and_look(checkout, process, lambda: process.signal(signal.SIGTERM))


def test_a_command_in_another_terminal_reaches_the_same_site(running: Checkout) -> None:
    visitor = Visitor(running.url)
    visitor.type_name("ada lovelace")
    visitor.close()
    wait_until(lambda: "New User" in requests.get(f"{running.url}/mailbox/list", timeout=5).text)
    assert "admin@example.com" in running.flask("mail", "list")
    assert "sent" in running.flask("mail", "list", "--status", "sent")
    count = requests.get(f"{running.url}/mailbox/list", timeout=5).text.count("<li")
    sent = running.flask("mail", "send", "you@example.com", "mail/new_user", "-s", "From a terminal", "-c", "user=x", code=1)
    assert "username" in sent  # the template asks for more than a text
    health = running.flask("mail", "health")
    assert "cannot be used" not in health + running.flask("mail", "deliver")
    assert requests.get(f"{running.url}/mailbox/list", timeout=5).text.count("<li") == count


def test_a_port_of_one_run_leaves_the_dotenv_alone_and_the_command_is_told(checkout: Checkout) -> None:
    first = dict(checkout.env)
    with checkout.running() as process:
        assert re.search(r"Commands +\S*flask mail list", process.output)
    said = (checkout.folder / ".env").read_text()
    checkout.env["PORT"] = str(free_port())
    checkout.env["MAILBOX_PORT"] = str(free_port())
    checkout.url = f"http://localhost:{checkout.env['PORT']}"
    with checkout.running() as process:
        site, mailbox = checkout.env["PORT"], checkout.env["MAILBOX_PORT"]
        given = f"PORT={site} FLASKY_MAILBOX_PORT={mailbox} MAIL_PORT={mailbox}"
        assert re.search(rf"Commands +{given} \S*flask mail list", process.output)
        assert (checkout.folder / ".env").read_text() == said
    for name in ("PORT", "MAILBOX_PORT", "REDIS_PORT"):
        del checkout.env[name]
    checkout.url = f"http://localhost:{first['PORT']}"
    with checkout.running():
        assert (checkout.folder / ".env").read_text() == said


OWN = "SECRET_KEY=a-key-of-the-last-release\nFLASKY_ADMIN=me@example.com\n"
DEVELOPMENT = {
    "PORT": "5000",
    "FLASKY_MAILBOX_PORT": "1025",
    "MAIL_SERVER": "127.0.0.1",
    "MAIL_PORT": "1025",
    "REDIS_URL": "redis://127.0.0.1:6399/0",
    "FLASKY_DEV": "on",
    "WEB_CONCURRENCY": "1",
}


def without(*names: str) -> dict[str, str]:
    return {name: value for name, value in DEVELOPMENT.items() if name not in names}


@pytest.mark.parametrize(
    ("own", "shell", "added"),
    [
        (OWN, {}, DEVELOPMENT),
        (OWN + "MAIL_SERVER=smtp.example\n", {}, without("MAIL_SERVER", "MAIL_PORT")),
        (OWN + "REDIS_URL=rediss://redis.example", {}, without("REDIS_URL")),
        (OWN + "FLASKY_DEV=off\nWEB_CONCURRENCY=3\n", {}, without("FLASKY_DEV", "WEB_CONCURRENCY")),
        (OWN, {"WEB_CONCURRENCY": "3", "REDIS_URL": "redis://:pw@redis.example"}, without("WEB_CONCURRENCY", "REDIS_URL")),
        (OWN, {"PORT": "5050", "REDIS_PORT": "7000"}, DEVELOPMENT | {"PORT": "5050", "REDIS_URL": "redis://127.0.0.1:7000/0"}),
    ],
    ids=["last release", "own server", "own redis", "own choice", "the shell's", "ports"],
)
def test_what_is_missing_in_the_dotenv_is_added_and_what_is_there_stays(
    tmp_path: Path, own: str, shell: dict[str, str], added: dict[str, str]
) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text(own)
    plan = run.make_plan(run.read_dotenv(dotenv), {"PATH": ""} | shell)
    run.complete_dotenv(dotenv, plan.missing)
    assert dotenv.read_text().startswith(own)
    assert run.read_dotenv(dotenv) == dict(dotenv_values(stream=io.StringIO(own))) | added
    assert plan.env.items() >= shell.items()
    assert run.make_plan(run.read_dotenv(dotenv), {"PATH": ""} | shell).missing == {}


def test_a_port_of_one_run_moves_what_is_ours_alone() -> None:
    ours = run.make_plan(DEVELOPMENT | {"SECRET_KEY": "x"}, {"PATH": "", "REDIS_PORT": "7000", "MAILBOX_PORT": "2525"})
    assert ours.this_run == {"FLASKY_MAILBOX_PORT": "2525", "MAIL_PORT": "2525", "REDIS_URL": "redis://127.0.0.1:7000/0"}
    assert ours.missing == {}
    theirs = DEVELOPMENT | {
        "SECRET_KEY": "x",
        "MAIL_SERVER": "smtp.example",
        "MAIL_PORT": "587",
        "REDIS_URL": "redis://redis.example",
    }
    plan = run.make_plan(theirs, {"PATH": "", "REDIS_PORT": "7000", "MAILBOX_PORT": "2525"})
    assert plan.env.items() >= {(name, theirs[name]) for name in ("MAIL_SERVER", "MAIL_PORT", "REDIS_URL")}
    assert plan.this_run == {"FLASKY_MAILBOX_PORT": "2525"}


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
    assert [line.split()[1] for line in rest] == ["FLASKY_ADMIN", "MAIL_PORT", "MAIL_USE_TLS"]
    assert not checkout.processes()
