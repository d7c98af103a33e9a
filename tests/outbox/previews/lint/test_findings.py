"""Each finding of lint, with a mail that has it and a mail that has not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_outbox.previews.lint import Level, lint, lint_message
from flask_outbox.previews.lint.support import features

if TYPE_CHECKING:
    from flask_outbox.previews.lint import Finding

BASE = "https://www.example.com"
HEAD = '<!doctype html><html lang="en"><head><title>Hi</title>{}</head><body>{}</body></html>'


def html(body: str = "<p>Hello there</p>", head: str = "") -> str:
    return HEAD.format(head, body)


def found(rule: str, text: str = "Hello", body: str = "<p>Hello</p>", *, head: str = "", subject: str = "Hi") -> list[Finding]:
    return [finding for finding in lint(subject, text, html(body, head), BASE) if finding.rule == rule]


def test_a_clean_mail_has_no_finding() -> None:
    text = f"Hello Zoë & Co,\n\nyour order is at {BASE}/orders/1.\n\n-- \nThe shop (https://other.example/a_(b))\n"
    body = (
        f'<p>Hello Zoë &amp; Co,</p><p>your order is <a href="{BASE}/orders/1">here</a> <img src="cid:logo" alt=""></p>'
        '<p><a href="https://other.example/a_(b)">The shop</a> <a href="mailto:a@example.com">write</a></p>'
    )
    assert lint("Your order", text, html(body), BASE) == []


LINK = f'<a href="{BASE}/a">a</a>'
# rule, and what is given to found(): a mail that has it, and one that has not.
TABLE = [
    ("escaped", {"text": "Fish &amp; Chips"}, {"text": "Fish & Chips &c."}),
    ("escaped", {"subject": "Don&#39;t"}, {"subject": "Don't"}),
    ("escaped", {"text": f"{BASE}/?a=1&amp;b=2"}, {"text": f"{BASE}/?a=1&b=2;"}),
    ("escaped", {"body": "<p>Fish &amp;amp; Chips</p>"}, {"body": "<p>Fish &amp; Chips</p>"}),
    ("tags", {"text": "Hello <b>you</b>"}, {"text": "if a <b and c> d, 1 < 2, <susan@example.com>"}),
    ("unrendered", {"text": "Hello {{ name }}"}, {"text": "Hello {name}"}),
    ("unrendered", {"subject": "Hello {% if"}, {"subject": "100 % {ok}"}),
    ("unrendered", {"body": "<p>Hello {{ name }}</p>"}, {"body": "<p>Hello</p>"}),
    ("unrendered", {"body": '<p title="{{ x }}">a</p>'}, {"head": "<style>@media print{p{margin:0}}</style>"}),
    ("text-empty", {"text": " \n "}, {"text": "x"}),
    ("text-blank", {"text": "a\n\n\n\nb"}, {"text": "a\n\n\nb"}),
    ("text-long", {"text": "word " * 400}, {"text": "word\n" * 400}),
    ("link-missing", {"text": "Hi", "body": LINK}, {"text": f"Hi: {BASE}/a, and so on", "body": LINK}),
    ("link-missing", {"text": f"{BASE}/a {BASE}/b", "body": LINK}, {"text": f"({BASE}/a)", "body": LINK}),
    ("link-relative", {"body": '<a href="/orders">x</a>'}, {"body": LINK}),
    ("link-relative", {"body": '<a href="//example.com/a">x</a>'}, {"body": '<a href="tel:+49">x</a>'}),
    ("link-relative", {"body": '<a href="javascript:alert(1)">x</a>'}, {"body": "<a name='x'>x</a>"}),
    ("link-empty", {"body": '<a href="#">x</a>'}, {"body": '<a href="#part">x</a>'}),
    ("link-empty", {"body": '<a href=" ">x</a>'}, {"body": LINK}),
    ("link-http", {"text": "http://www.example.com/"}, {"text": "https://other.example/"}),
    ("link-http", {"body": '<a href="http://other.example">x</a>'}, {"body": '<a href="https://other.example">x</a>'}),
    ("link-local", {"text": "http://localhost:5000/a"}, {"text": BASE}),
    ("image-source", {"body": '<img src="/logo.png" alt="">'}, {"body": '<img src="https://example.com/logo.png" alt="">'}),
    ("image-source", {"body": '<img src="http://example.com/a.png" alt="">'}, {"body": '<img src="cid:logo" alt="">'}),
    ("alt", {"body": '<img src="cid:a">'}, {"body": '<img src="cid:a" alt="A chart">'}),
    ("dead", {"body": "<script>1</script>"}, {"body": "<p>script</p>"}),
    ("dead", {"body": '<p onclick="x()">a</p>'}, {"body": '<p id="one">a</p>'}),
    ("size", {"body": f"<p>{'x' * 110_000}</p>"}, {"body": f"<p>{'x' * 60_000}</p>"}),
    ("preview-text", {"body": "<p>View this mail in your browser</p>"}, {"body": "<p>View your order</p>"}),
    ("preview-text", {"body": "<p> </p>"}, {"body": "<p>x</p>"}),
    ("preview-text", {"body": "<p>Hi</p>"}, {"body": "<p>Hi there</p>"}),
    ("css-display-flex", {"body": '<p style="display : FLEX">a</p>'}, {"body": '<p style="display:block">flex</p>'}),
    (
        "css-background-image",
        {"body": "<p style=\"background:#fff url('a;b.png')\">a</p>"},
        {"body": '<p style="background:#fff">a</p>'},
    ),
    ("css-variables", {"head": "<style>p{color:var(--ink)}</style>"}, {"head": "<style>/* var(--x) */p{color:red}</style>"}),
    ("css-at-import", {"head": "<style>@import url('a.css');</style>"}, {"head": "<style>p{content:'@import'}</style>"}),
    ("css-at-media-prefers-color-scheme", {"head": "<style>@media (prefers-color-scheme:dark){p{color:#fff}}</style>"}, {}),
    ("css-pseudo-class-hover", {"head": "<style>a:hover{color:red}</style>"}, {"head": "<style>a{color:red}</style>"}),
    ("css-pseudo-element-before", {"head": "<style>a:before{color:red}</style>"}, {"head": "<style>.before{color:red}</style>"}),
    ("css-unit-vw", {"head": "<style>a{width:50vw}</style>"}, {"head": "<style>a{background:#50vw0;width:5%}</style>"}),
    ("html-video", {"body": "<video></video>"}, {"body": "<p>video</p>"}),
    ("html-form", {"body": "<form></form>"}, {"body": "<p>form</p>"}),
    ("html-srcset", {"body": '<img alt="" src="cid:a" srcset="b">'}, {"body": '<img alt="" src="cid:a">'}),
    ("html-anchor-links", {"body": '<a href="#a">a</a>'}, {"body": LINK}),
    (
        "image-webp",
        {"body": '<img alt="" src="https://e.example/a.WEBP?x=1">'},
        {"body": '<img alt="" src="https://e.example/a.png">'},
    ),
    ("image-base64", {"body": '<img alt="" src="data:image/png;base64,AA">'}, {"body": '<img alt="" src="cid:data">'}),
]


@pytest.mark.parametrize(("rule", "bad", "good"), TABLE)
def test_each_finding_is_found_and_not_imagined(rule: str, bad: dict[str, str], good: dict[str, str]) -> None:
    (finding,) = found(rule, **bad)
    assert finding.what
    assert finding.remedy.endswith((".", "sends the mail does."))
    assert found(rule, **good) == []


def test_a_mail_without_language_and_title_is_told() -> None:
    rules = {finding.rule for finding in lint("Hi", "Hello", "<p>Hello</p>", BASE)}
    assert rules == {"lang", "title"}


def test_the_worst_comes_first_and_each_finding_names_the_line() -> None:
    body = '<p style="border-radius:4px;\n  display:flex">a</p>\n<img src="cid:a">'
    findings = lint("Hi", "one\nFish &amp; Chips", html(body), BASE)
    assert [(finding.level, finding.rule, finding.where) for finding in findings] == [
        (Level.ERROR, "alt", "html, line 3"),
        (Level.ERROR, "escaped", "text, line 2"),
        (Level.WARNING, "css-display-flex", "html, line 2"),
        (Level.NOTE, "css-border-radius", "html, line 1"),
    ]


def test_a_feature_is_told_once_with_its_source() -> None:
    (finding,) = found("css-position", body='<p style="position:absolute">a</p><p style="position:fixed">b</p>')
    assert finding.what == "position does not work in Gmail and Outlook on Windows (used 2 times)"
    assert finding.source == "https://www.caniemail.com/features/css-position/"


def test_the_base_url_itself_may_be_local_and_unencrypted() -> None:
    link = "http://localhost:5000/a"
    assert lint("Hi", f"Hello {link}", html(f'<p>Hello <a href="{link}">a</a></p>'), "http://localhost:5000") == []


def test_the_facts_are_a_dated_extract_that_can_be_read() -> None:
    assert len(features()) > 150
    assert all(feature.clients for feature in features().values())


MESSAGE = b"""\
Subject: =?utf-8?q?Fish_=26amp=3B_Chips?=
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary=b

--b
Content-Type: text/plain; charset=utf-8

Hello
--b
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: quoted-printable

<html lang=3D"en"><title>x</title><body>Hello <img src=3D"cid:a"></body></html>
--b--
"""


def test_a_message_as_it_was_sent_can_be_linted() -> None:
    assert [(finding.rule, finding.half) for finding in lint_message(MESSAGE)] == [("alt", "html"), ("escaped", "subject")]


def test_a_message_without_html_needs_none() -> None:
    assert lint_message(b"Subject: Hi\n\nHello") == []
    assert lint_message(b"") == []


@pytest.mark.timeout(20)
@pytest.mark.parametrize("noise", ["<a ", "<!--", '<p style="', "(", ".", "a", "{", "&", "url("])
def test_no_message_takes_long(noise: str) -> None:
    html = noise * 30_000
    lint(html, html, html)
    lint("", "", f"<style>{html}</style>")


@given(st.binary(max_size=300))
def test_no_message_is_too_broken(noise: bytes) -> None:
    lint_message(noise)
    lint_message(b"Subject: " + noise)
    lint_message(b"Content-Type: text/html; charset=utf-8\n\n<style>" + noise)


@given(st.text(alphabet="<>/!-\"'={}@;:()*#a styl&[]\n\\", max_size=200))
def test_no_html_is_too_broken(noise: str) -> None:
    lint(noise, noise, noise, BASE)
    lint("", "", f'<p style="{noise}">', BASE)
