"""The mailbox pages: every part of a mail, shown so that a stranger's mail can do nothing."""

from __future__ import annotations

import base64
from email.message import EmailMessage
from email.utils import make_msgid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from flask_outbox.desk import Maildir

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

PNG = b"\x89PNG\r\n\x1a\n picture"
GIF = b"GIF89a picture"


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app(flasky_dev=True)


@pytest.fixture
def maildir(app: Flask) -> Maildir:
    folder = Maildir(Path(app.instance_path) / "mailbox")
    folder.create()
    return folder


def letter() -> EmailMessage:
    """Return a mail with everything: both halves, two inline images whose ids begin alike, and two files."""
    message = EmailMessage()
    message["Subject"] = "Grüße <b>an</b> 智子"
    message["From"] = "Zoë <zoe@example.com>"
    message["To"] = "susan@example.com"
    message["Date"] = "Mon, 23 Nov 2026 10:00:00 +0000"
    message["Message-ID"] = make_msgid(domain="example.com")
    message.set_content("the text half, <i>as it is</i>")
    message.add_alternative(
        "<html><head><title>x</title></head><body><script>alert(1)</script><p>the html half</p>"
        '<img src="cid:logo"><img src="cid:logo2"><img src="cid:else@where"></body></html>',
        subtype="html",
    )
    html = message.get_payload()[1]
    html.add_related(PNG, "image", "png", cid="<logo>", filename="logo.png")
    html.add_related(GIF, "image", "gif", cid="<logo2>")
    message.add_attachment(b"%PDF-1.7", maintype="application", subtype="pdf", filename="Grüße 智.pdf")
    message.add_attachment(b"<script>alert(1)</script>", maintype="text", subtype="html", filename="page.html")
    return message


@pytest.fixture
def mail(maildir: Maildir) -> str:
    """The address of the page of one mail."""
    maildir.add("00000000000000000001.1-0.localhost", letter().as_bytes())
    return "/mailbox/00000000000000000001.1-0.localhost/"


def test_an_empty_mailbox_says_so(client: Any) -> None:
    assert "No mail yet" in client.get("/mailbox/").text


@pytest.mark.parametrize("path", ["/mailbox/", "/mailbox/list"])
def test_the_list_shows_the_newest_first(client: Any, maildir: Maildir, path: str) -> None:
    for number in (1, 3, 2):
        message = EmailMessage()
        message["Subject"] = f"number {number}"
        maildir.add(f"{number:020d}.1-0.localhost", message.as_bytes())
    page = client.get(path).text
    assert page.index("number 3") < page.index("number 2") < page.index("number 1")


def test_new_mail_appears_by_itself(client: Any) -> None:
    page = client.get("/mailbox/").text
    assert 'data-url="/mailbox/list"' in page
    assert 'src="/mailbox/static/live.js"' in page
    assert "<html" not in client.get("/mailbox/list").text


def test_a_mail_is_shown_with_text_headers_and_files(client: Any, mail: str) -> None:
    page = client.get(mail).text
    for part in ("Grüße &lt;b&gt;an&lt;/b&gt; 智子", "Zoë &lt;zoe@example.com&gt;", "the text half, &lt;i&gt;as it is&lt;/i&gt;"):
        assert part in page
    for name in ("Message-ID", "MIME-Version", "logo.png", "Grüße 智.pdf", "page.html", "Source"):
        assert name in page
    assert "<script>alert" not in page
    assert "the html half" not in page


def test_the_html_half_is_in_a_sandbox_inside_and_out(client: Any, mail: str) -> None:
    frame = client.get(mail).text.partition("<iframe")[2].partition(">")[0]
    assert f'src="{mail}html?colours=light"' in frame
    assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in frame
    answer = client.get(f"{mail}html")
    directives = dict(one.strip().partition(" ")[::2] for one in answer.headers["Content-Security-Policy"].split(";"))
    assert directives["default-src"] == "'none'"
    assert set(directives["sandbox"].split()) == {"allow-popups", "allow-popups-to-escape-sandbox"}
    assert "script-src" not in directives
    assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert directives["frame-ancestors"] == "'self'"
    assert "the html half" in answer.text


def test_links_in_the_html_half_open_outside_the_frame(client: Any, mail: str) -> None:
    assert '<head><base target="_blank">' in client.get(f"{mail}html").text


def test_inline_images_are_those_that_came_along(client: Any, mail: str) -> None:
    html = client.get(f"{mail}html").text
    for number, (data, kind) in enumerate([(PNG, "png"), (GIF, "gif")]):
        assert f'src="data:image/{kind};base64,{base64.b64encode(data).decode()}"' in html
        answer = client.get(f"{mail}attachment/{number}")
        assert answer.data == data
        assert answer.headers["Content-Disposition"].startswith("inline")
        assert answer.content_type in {"image/png", "image/gif"}
    assert 'src="cid:else@where"' in html


@pytest.mark.parametrize(
    ("number", "data", "name"),
    [(2, b"%PDF-1.7", "Gr%C3%BC%C3%9Fe%20%E6%99%BA.pdf"), (3, b"<script>alert(1)</script>", "page.html")],
)
def test_other_files_are_downloaded_and_never_shown(client: Any, mail: str, number: int, data: bytes, name: str) -> None:
    answer = client.get(f"{mail}attachment/{number}")
    assert answer.data.strip() == data
    assert answer.content_type == "application/octet-stream"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert name in answer.headers["Content-Disposition"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_the_source_is_shown_byte_for_byte_as_text(client: Any, maildir: Maildir) -> None:
    source = b"Subject: x\r\n\r\n\xff\xfe<script>alert(1)</script>\r\n"
    maildir.add("1.localhost", source)
    answer = client.get("/mailbox/1.localhost/source")
    assert answer.data == source
    assert answer.content_type == "text/plain; charset=utf-8"


@pytest.mark.parametrize("part", ["attachment/99", "attachment/-1", "attachment/x", "nothing"])
def test_a_part_that_is_not_there_is_404(client: Any, mail: str, part: str) -> None:
    assert client.get(mail + part).status_code == 404


def test_a_mail_without_html_has_no_frame(client: Any, maildir: Maildir) -> None:
    maildir.add("1.localhost", b"Subject: plain\r\n\r\nonly text\r\n")
    assert "<iframe" not in client.get("/mailbox/1.localhost/").text
    assert client.get("/mailbox/1.localhost/html").status_code == 404


OUTSIDE = ["..", "%2e%2e", ".", "../../test.sqlite3", "%2e%2e/%2e%2e/test.sqlite3", "new", "x%00", "x%0a"]
OUTSIDE += ["..%2f..%2ftest.sqlite3", "..%5c..%5ctest.sqlite3", "%2fetc%2fpasswd"]


@pytest.mark.parametrize("mail_id", OUTSIDE)
def test_no_address_leads_out_of_the_mailbox(app: Flask, client: Any, mail: str, mail_id: str) -> None:
    assert (Path(app.instance_path) / "test.sqlite3").exists()
    for part in ("", "source", "html", "attachment/0"):
        answer = client.get(f"/mailbox/{mail_id}/{part}")
        assert answer.status_code in {308, 404} or answer.request.path == "/", part
        assert b"SQLite" not in answer.data


@pytest.mark.parametrize("mail_id", ["..", ".", "", "new", "../../test.sqlite3", "/etc/passwd", "x\0", "x\n"])
def test_the_maildir_itself_gives_no_file_from_elsewhere(maildir: Maildir, mail_id: str) -> None:
    assert maildir.get(mail_id) is None


BROKEN = {
    "nothing at all": b"",
    "unknown charset": b"Content-Type: text/html; charset=x-nobody\r\n\r\nwords\r\n",
    "bad base64": b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n####\r\n",
    "bytes in headers": b"Subject: \xff\xfe\r\nFrom: \xe6\r\n\r\nwords\r\n",
    "no boundary": b"Content-Type: multipart/mixed\r\n\r\nwords\r\n",
    "endless boundary": b'Content-Type: multipart/mixed; boundary="x"\r\n\r\n--x\r\nContent-Type: text/html\r\n\r\n<p>words',
    "bad addresses": b"From: <<>>,@;\r\nTo: [\r\nDate: yesterday\r\nMessage-ID: <[\r\n\r\nwords\r\n",
    "bad content type": b"Content-Type: ;;;=\r\nContent-Disposition: attachment; filename*=x''%ff%fe\r\n\r\nwords\r\n",
    "line break in a name": b"Content-Disposition: attachment; filename*=utf-8''a%0d%0ab.pdf\r\n\r\nx",
    "empty content id": b"Content-Type: image/png\r\nContent-ID: <>\r\n\r\nx",
    "surrogates": b"Subject: =?utf-8?q?=ED=A0=80?=\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\xed\xa0\x80\r\n",
    "text half attached": b"Content-Type: text/html\r\nContent-Disposition: attachment\r\n\r\n<p>words",
}


@pytest.mark.parametrize("source", BROKEN.values(), ids=BROKEN)
def test_a_broken_mail_is_shown_as_far_as_it_goes(client: Any, maildir: Maildir, source: bytes) -> None:
    maildir.add("1.localhost", source)
    for path in ("/mailbox/", "/mailbox/1.localhost/", "/mailbox/1.localhost/source"):
        assert client.get(path).status_code == 200, path
    for part in ("html", "attachment/0"):
        assert client.get(f"/mailbox/1.localhost/{part}").status_code in {200, 404}, part
    assert client.get("/mailbox/1.localhost/source").data == source


def test_a_forwarded_mail_can_be_downloaded_whole(client: Any, maildir: Maildir) -> None:
    message = EmailMessage()
    message.set_content("see below")
    message.add_attachment(letter())
    maildir.add("1.localhost", message.as_bytes())
    page = client.get("/mailbox/1.localhost/").text
    assert "message/rfc822" in page
    assert b"the text half" in client.get("/mailbox/1.localhost/attachment/0").data
    assert client.get("/mailbox/1.localhost/attachment/1").status_code == 404


def test_without_flasky_dev_there_are_no_pages_and_no_routes(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    assert not [rule for rule in app.url_map.iter_rules() if "mailbox" in rule.rule or "mailbox" in rule.endpoint]
    client = app.test_client()
    assert client.get("/mailbox/").status_code == 404
    assert "Mailbox" not in client.get("/").text
