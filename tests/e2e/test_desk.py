"""The operator's desk in a real browser: phone and desktop, light and dark, by keyboard, with hostile values everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from flask_outbox.store.models import Attempt, Audit, AuditedEmail, Content, Email, Health, Status, Worker
from flask_outbox.store.operations import audit
from flasky.extensions import db
from tests.e2e.served import served
from tests.site.visiting import PASSWORD, add_account

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask
    from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = pytest.mark.browser

NOW = datetime.now(UTC)
# In every field that a stranger can write: it must neither run, nor load anything, nor break the page.
HOSTILE = """"'><script>document.title='hacked'</script><img src=x onerror="document.title='hacked'">\u202e{{7*7}}&lt;"""
HTML = f"""<html><head><style>body{{background:url(http://127.0.0.1:9/css)}}</style></head><body><p>Hello</p>{HOSTILE}
<img src="http://127.0.0.1:9/pixel.png"><iframe src="http://127.0.0.1:9/frame"></iframe>
<form action="http://127.0.0.1:9/"><input name=a></form>
<a href="javascript:document.title='hacked'">click</a><meta http-equiv="refresh" content="0;url=http://127.0.0.1:9/"></body></html>"""
SOURCE = (
    "From: a@example.com\r\nTo: b@example.com\r\nSubject: Hi\r\nMIME-Version: 1.0\r\n"
    'Content-Type: multipart/alternative; boundary="b"\r\n\r\n'
    f"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{HOSTILE}\r\n"
    f"--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n{HTML}\r\n--b--\r\n"
).encode()


@dataclass
class Desk:
    """A running site with an administrator, and an email in each status."""

    url: str
    emails: dict[str, int]
    audits: list[int]

    @property
    def paths(self) -> list[str]:
        """Return the path of every page."""
        listed = ["/", "/outbox/", "/outbox/?q=status:failed", "/outbox/?q=nonsense:1", "/audit/", "/templates/"]
        emails = [f"/email/{one}/" for one in self.emails.values()]
        return [*listed, *emails, *(f"/actions/{one}/" for one in self.audits)]


def add_email(status: Status, *, secret: bool = False) -> Email:
    content = Content(
        message_id=f"<{HOSTILE}>"[:300],
        sender="a@example.com",
        subject=HOSTILE,
        source=None if secret else SOURCE,
        size=len(SOURCE),
        secret=secret,
        request_id=HOSTILE[:200],
        origin=HOSTILE[:200],
    )
    email = Email(
        content=content,
        recipient=f"{HOSTILE}@example.com",
        status=status.value,
        template=HOSTILE,
        key=f"{HOSTILE}{status}{secret}"[:200],
        reply=f"550 5.1.1 {HOSTILE}",
        failure=f"550 5.1.1 {HOSTILE}" if status is Status.FAILED else None,
        finished_at=NOW if status.is_final else None,
        send_at=NOW + timedelta(days=1),
        tries=1,
    )
    db.session.add(email)
    db.session.flush()
    outcome = "sent" if status is Status.SENT else "refused"
    db.session.add(
        Attempt(
            email_id=email.id,
            started_at=NOW - timedelta(minutes=3),
            seconds=0.2,
            worker=HOSTILE[:100],
            outcome=outcome,
            code=550,
            enhanced="5.1.1",
            reply=HOSTILE,
        )
    )
    return email


def seed() -> tuple[dict[str, int], list[int]]:
    emails = {status.value: add_email(status) for status in Status} | {"secret": add_email(Status.SENT, secret=True)}
    db.session.add(Worker(name=HOSTILE[:100], started_at=NOW - timedelta(hours=2), seen_at=NOW, doing=HOSTILE[:200]))
    db.session.add(Health(reason=HOSTILE, ours=True, failures=3, since=NOW - timedelta(minutes=5), next_try_at=NOW))
    unfinished = Audit(
        actor=HOSTILE, address=HOSTILE[:100], action="retry", search='"x"', expected=5, changed=2, first_id=9, last_id=4
    )
    db.session.add(unfinished)
    db.session.flush()
    db.session.add(AuditedEmail(audit_id=unfinished.id, email_id=emails["failed"].id))
    ids = {name: email.id for name, email in emails.items()}
    done = audit.record(
        db.session.connection(), actor=HOSTILE, address=HOSTILE[:100], action="retry", emails=[ids["queued"]], detail=HOSTILE
    )
    db.session.commit()
    return ids, [unfinished.id, done]


@pytest.fixture
def desk(make_app: Callable[..., Flask]) -> Iterator[Desk]:
    app = make_app(flasky_mail_dispatch="manual", flasky_trusted_hosts=("127.0.0.1",))
    add_account(app, admin=True)
    with app.app_context():
        emails, audits = seed()
        db.session.remove()
    with served(app) as url:
        yield Desk(url, emails, audits)


@pytest.fixture
def visit(browser: Browser, desk: Desk) -> Iterator[Callable[..., Page]]:
    """Open a page of a signed-in administrator, on a window of that width and colour scheme."""
    contexts: list[BrowserContext] = []

    def visit(width: int = 1280, scheme: Any = "light", **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **options)
        contexts.append(context)
        page = context.new_page()
        page.goto(f"{desk.url}/auth/sign-in")
        page.get_by_label("Email").fill("susan@example.com")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_load_state()
        return page

    yield visit
    for context in contexts:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing_and_nothing_overflows(desk: Desk, visit: Any, width: int, scheme: str) -> None:
    page = visit(width, scheme)
    for path in desk.paths:
        page.goto(f"{desk.url}/admin/mail{path}")
        found = Axe().run(page)
        assert found.violations_count == 0, f"{path}: {found.generate_report()}"
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow <= 0, f"{path} is {overflow} px too wide"


def test_what_strangers_write_neither_runs_nor_loads_anything(desk: Desk, visit: Any) -> None:
    page = visit()
    foreign, complaints = [], []
    page.on("request", lambda request: None if request.url.startswith((desk.url, "data:")) else foreign.append(request.url))
    page.on("console", lambda message: complaints.append(message.text) if "hacked" in message.text else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    for path in desk.paths:
        page.goto(f"{desk.url}/admin/mail{path}", wait_until="load")
        page.wait_for_timeout(100)
        assert page.title() != "hacked", path
        assert "49" not in page.title()
    assert (foreign, complaints) == ([], [])


# Where the focus is, and whether that shows.
FOCUS = """() => {
  const one = document.activeElement, style = getComputedStyle(one)
  const isSeen = one === document.body || one.tagName === 'IFRAME' || style.outlineStyle !== 'none'
  return [[...document.querySelectorAll('*')].indexOf(one), isSeen]
}"""
CONTROLS = """() => [...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary')]
  .filter(one => !one.disabled).filter(one => one.checkVisibility() && one.tabIndex >= 0).length"""


def test_every_control_is_reached_by_keyboard_and_shows_its_focus(desk: Desk, visit: Any) -> None:
    page = visit()
    for path in desk.paths:
        page.goto(f"{desk.url}/admin/mail{path}")
        controls, reached = page.evaluate(CONTROLS), {}
        for _ in range(controls + 10):
            page.keyboard.press("Tab")
            number, is_seen = page.evaluate(FOCUS)
            reached[number] = is_seen
        assert all(reached.values()), (
            f"{path}: element {[number for number, is_seen in reached.items() if not is_seen]} hides its focus"
        )
        # One of a group of radio buttons is reached by Tab, the others by the arrow keys.
        assert len(reached) >= controls * 0.8, path


def test_a_retry_shows_what_became_of_it(desk: Desk, visit: Any) -> None:
    page = visit()
    page.goto(f"{desk.url}/admin/mail/email/{desk.emails['failed']}/")
    page.get_by_role("button", name="Retry").click()
    page.wait_for_load_state()
    assert f"/email/{desk.emails['failed']}/" in page.url
    assert page.get_by_text("queued", exact=False).count()
    page.goto(f"{desk.url}/admin/mail/audit/")
    assert page.get_by_text("susan@example.com").count()


def test_a_stranger_sees_nothing(desk: Desk, browser: Browser) -> None:
    page = browser.new_page()
    for path in desk.paths:
        response = page.goto(f"{desk.url}/admin/mail{path}")
        assert response is not None
        assert "/auth/sign-in" in page.url
    page.close()
