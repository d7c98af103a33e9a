"""Any bytes can be read as a message: decoded where that is possible, never an error, and in bounded time and size."""

from __future__ import annotations

import base64
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_outbox import Message
from flask_outbox.message.links import MOST_LINKS, Link, find_links
from flask_outbox.message.parsing import MOST_PARTS
from flask_outbox.message.reading import LONGEST_HTML, LONGEST_TEXT, MOST_FILES, MOST_HEADERS, ReadMessage, safe_name
from flask_outbox.message.writer import write


def everything(message: ReadMessage) -> object:
    return message.headers, message.text, message.html, message.files, message.links, list(message.pictures()), message.header("To")


def test_our_own_messages_are_read_as_they_were_written() -> None:
    message = Message("Grüße an 智子", ["Zoë <zoe@example.com>"], "Tschüß", "<p>Tschüß</p>", sender="Ünal <a@example.com>")
    message.attach("Rechnung 1.pdf", "application/pdf", b"%PDF-1.7")
    read = ReadMessage(write(message).source)
    assert read.header("Subject") == "Grüße an 智子"
    assert read.header("To") == "Zoë <zoe@example.com>"
    assert (read.text or "").strip() == "Tschüß"
    assert (read.html or "").strip() == "<p>Tschüß</p>"
    assert [(file.name, file.content_type, file.size) for file in read.files] == [("Rechnung 1.pdf", "application/pdf", 8)]
    found = read.file(0)
    assert found is not None
    assert found[1] == b"%PDF-1.7"
    assert read.file(1) is None
    assert read.file(-1) is None


def test_a_second_text_is_a_file_so_that_nothing_is_left_out() -> None:
    message = EmailMessage()
    message.set_content("first")
    message.make_mixed()
    for words in ("second", "third"):
        part = EmailMessage()
        part.set_content(words)
        message.attach(part)
    read = ReadMessage(message.as_bytes())
    assert (read.text or "").strip() == "first"
    assert [file.content_type for file in read.files] == ["text/plain", "text/plain"]


NESTED = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (i, i) for i in range(3000))
HUGE = {
    "nested": NESTED + b"Content-Type: text/plain\r\n\r\nwords\r\n",
    "parts": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\nContent-Type: application/x\r\n\r\nx\r\n" * 5000,
    "addresses": b"To: " + b"<(" * 100_000 + b"\r\n\r\nx",
    "headers": b"X: a\r\n" * 20_000 + b"\r\nx",
    "parameters": b"Content-Type: text/html;" + b"a*0=b;" * 5_000 + b"\r\n\r\nx",
    "text": b"\r\n\r\n" + b"x " * 1_000_000,
    "html": b"Content-Type: text/html\r\n\r\n" + b"<a href=\"<a href='" * 200_000,
    "links": b"\r\n\r\n" + b"".join(b"https://example.com/%d\r\n" % i for i in range(20_000)),
}


@pytest.mark.parametrize("source", HUGE.values(), ids=HUGE)
@pytest.mark.timeout(20)
def test_however_large_it_is_it_is_read_in_bounds(source: bytes) -> None:
    read = ReadMessage(source)
    everything(read)
    assert len(read.headers) <= MOST_HEADERS
    assert len(read.text or "") <= LONGEST_TEXT
    assert len(read.html or "") <= LONGEST_HTML
    assert len(read.files) <= MOST_FILES
    assert read.number_of_files <= MOST_PARTS
    assert len(read.links) <= MOST_LINKS


PIECES = st.sampled_from(
    [
        b"Content-Type: ",
        b"text/html",
        b"multipart/mixed; boundary=b",
        b"\r\n",
        b"--b",
        b"\r\n\r\n",
        b"; charset=",
        b"utf-8",
        b"\xff",
        b"=?",
        b"Content-Transfer-Encoding: base64",
        b"Content-ID: <a>",
        b"Content-Disposition: attachment; filename*=",
        b"x''%ff",
        b"To: <",
        b"\0",
        b"message/rfc822",
        b"?=",
        b"\n",
        b" ",
        b'"',
        b"Subject: =?utf-8?q?=ED=A0=80?=",
        b"message/delivery-status",
        b"<p>words",
        b";",
    ]
)


@given(st.lists(PIECES, max_size=40).map(b"".join) | st.binary(max_size=300))
@settings(max_examples=400, deadline=None)
def test_no_message_is_too_broken(source: bytes) -> None:
    read = ReadMessage(source)
    everything(read)
    "".join([read.text or "", read.html or "", *(name + value for name, value in read.headers)]).encode()
    for file in read.files:
        assert read.file(file.number) is not None


@pytest.mark.parametrize(
    ("name", "saved"),
    [
        ("../../x", "x"),
        ("..\\..\\autoexec.bat", "autoexec.bat"),
        ('"; filename="evil.exe', "; filename=evil.exe"),
        ("/etc/passwd", "passwd"),
        ("..", ""),
        (".bashrc", "bashrc"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("a\r\nSet-Cookie: x", "aSet-Cookie x"),
        ("x" * 500 + ".pdf", "x" * 120 + ".pdf"),
        ("Grüße 智.pdf", "Grüße 智.pdf"),
    ],
)
def test_a_file_cannot_be_saved_elsewhere(name: str, saved: str) -> None:
    assert safe_name(name) == saved
    encoded = base64.b64encode(name.encode()).decode()
    source = f"Content-Type: application/x\r\nContent-Disposition: attachment; filename==?utf-8?b?{encoded}?=\r\n\r\nx".encode()
    (file,) = ReadMessage(source).files
    assert "/" not in file.name
    assert not file.name.startswith(".")


def test_links_are_told_with_the_halves_that_have_them() -> None:
    html = "<a href='https://example.com/both?a=1&amp;b=2'>x</a><a href=\"javascript:alert(1)\"><a href=#top><a href=https://example.com/h>"
    text = "See https://example.com/both?a=1&b=2. Or (https://example.com/t)!"
    assert find_links(html, text) == [
        Link("https://example.com/both?a=1&b=2", is_in_html=True, is_in_text=True),
        Link("javascript:alert(1)", is_in_html=True, is_in_text=False),
        Link("https://example.com/h", is_in_html=True, is_in_text=False),
        Link("https://example.com/t", is_in_html=False, is_in_text=True),
    ]
