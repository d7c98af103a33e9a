"""The example with Flask-Security as a stranger starts it: an account from registration to a new password, in a real browser."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.servers import ROOT, Process, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from flask_outbox.testing import SmtpServer, SmtpSession

WHO, OLD, NEW = "susan@example.com", "correct horse", "battery staple"
DAY = timedelta(days=1)


class Example:
    """A copy of the example in *folder*, and a mail server that says nothing while its gate is closed."""

    def __init__(self, folder: Path, smtp: SmtpServer) -> None:
        shutil.copytree(ROOT / "examples/flask_security", folder)
        self.folder, self.smtp = folder, smtp
        self.gate = threading.Event()
        smtp.on("CONNECT", self._wait, always=True)
        smtp.on("MAIL", self._wait, always=True)
        port = free_port()
        self.url = f"http://localhost:{port}"
        self._env = {name: value for name, value in os.environ.items() if not name.startswith(("FLASK_", "MAIL_"))}
        self._env |= {"PYTHONPATH": str(ROOT), "FLASK_MAIL_SERVER": "127.0.0.1", "FLASK_MAIL_PORT": str(smtp.port)}
        self._env |= {"FLASK_MAIL_BASE_URL": self.url}
        self._command = [sys.executable, "-m", "flask", "--app", "app"]
        self.process = Process([*self._command, "run", "--port", str(port)], folder.parent / "run.log", self._env, folder)
        wait_until(lambda: "Running on" in self.process.output or self.process.popen.poll() is not None, 20, "the example")
        assert self.process.popen.poll() is None, self.process.output

    def _wait(self, session: SmtpSession, usual: str) -> None:
        self.gate.wait(30)
        session.say(usual)

    def mail(self, *arguments: str) -> str:
        """Return what ``flask mail`` prints."""
        command = [*self._command, "mail", *arguments]
        return subprocess.run(
            command, env=self._env, cwd=self.folder, capture_output=True, text=True, check=True, timeout=30
        ).stdout

    def row(self, number: int) -> sqlite3.Row:
        """Return what the database knows of one email."""
        with closing(sqlite3.connect(self.folder / "instance/accounts.sqlite3")) as connection:
            connection.row_factory = sqlite3.Row
            query = "SELECT * FROM mail_email JOIN mail_content ON mail_content.id = content_id WHERE mail_email.id = ?"
            return connection.execute(query, [number]).fetchone()

    def link_from_mail(self, number: int, lifetime: timedelta) -> str:
        """Open the gate for email *number*, return the link in it, and see that the outbox does not know the link any more."""
        assert len(self.smtp.accepted) == number - 1
        row = self.row(number)
        assert row["status"] in {"queued", "sending"}
        assert row["secret"] == 1
        expires, made = (datetime.fromisoformat(row[name]) for name in ("expires_at", "created_at"))
        assert abs(expires - made - lifetime) < timedelta(seconds=5)
        before = self.mail("show", str(number))
        self.gate.set()
        (*_, accepted) = self.smtp.wait_for(number)
        assert accepted.recipient == WHO
        text = accepted.message.get_body(("plain",)).get_content()
        (link,) = re.findall(r"http://\S+", text)
        wait_until(lambda: self.row(number)["status"] == "sent", what="the settle")
        assert self.row(number)["source"] is None, "the body was kept"
        after = self.mail("show", str(number))
        assert (WHO in before, WHO in after) == (True, True)
        assert link.rpartition("/")[2] not in before + after
        self.gate.clear()
        return link


@pytest.fixture
def example(tmp_path: Path, smtp: SmtpServer) -> Iterator[Example]:
    one = Example(tmp_path / "example", smtp)
    yield one
    one.gate.set()
    one.process.stop()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    context.set_default_timeout(5000)
    yield context.new_page()
    context.close()


def fill(page: Page, **fields: str) -> None:
    for name, value in fields.items():
        page.locator(f"input[name={name}]").fill(value)
    page.locator("input[type=submit]").first.click()


@pytest.mark.browser
def test_an_account_from_registration_to_a_new_password(example: Example, page: Page) -> None:
    page.goto(f"{example.url}/register")
    fill(page, email=WHO, password=OLD, password_confirm=OLD)
    # The mail server has not said a word: no request waits for it.
    expect(page.get_by_text("please click on the link in the email we have just sent")).to_be_visible()
    page.goto(example.link_from_mail(1, 2 * DAY))
    expect(page.get_by_text("Your email has been confirmed")).to_be_visible()

    page.goto(f"{example.url}/reset")
    fill(page, email=WHO)
    expect(page.get_by_text("Instructions to reset your password have been sent")).to_be_visible()
    page.goto(example.link_from_mail(2, DAY))
    fill(page, password=NEW, password_confirm=NEW)
    expect(page.get_by_text("You successfully reset your password")).to_be_visible()

    fill(page, email=WHO, password=OLD)
    expect(page.get_by_text("Invalid password")).to_be_visible()
    fill(page, email=WHO, password=NEW)
    expect(page.get_by_role("heading", name=f"Hello, {WHO}!")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Login")).to_be_visible()

    example.gate.set()
    notice = example.smtp.wait_for(3)[2].message
    assert notice["Subject"] == "Your password has been reset"
    wait_until(lambda: example.row(3)["status"] == "sent", what="the settle")
    kept = example.row(3)
    assert (kept["secret"], kept["expires_at"]) == (0, None)
    assert kept["source"] is not None
