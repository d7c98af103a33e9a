"""A template pair and a context become one message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flask_mail
import pytest
import sqlalchemy as sa

from flask_outbox import InvalidMessage, compose, send_email
from flask_outbox.message.writer import write
from flasky.extensions import db
from flasky.models import User
from tests.outbox.readers import read, texts

if TYPE_CHECKING:
    from pathlib import Path

    from flask import Flask


@pytest.fixture
def templates(context: Flask, tmp_path: Path) -> Any:
    """A function that writes templates; its keywords are their names with a ``_`` for the dot."""
    from jinja2 import ChoiceLoader, FileSystemLoader

    folder = tmp_path / "templates"
    folder.mkdir()
    context.jinja_env.loader = ChoiceLoader([FileSystemLoader(folder), context.jinja_env.loader])

    def make(**sources: str) -> None:
        for name, source in sources.items():
            (folder / name.replace("_", ".")).write_bytes(source.encode("utf-8", "surrogateescape"))

    return make


def test_both_halves_are_rendered_for_what_they_are(templates: Any) -> None:
    templates(a_txt="Hello {{ name }}!", a_html="<p>Hello {{ name }}!</p>")
    message = compose("a@b.example", "Fish & <Chips>", "a", name="Zoë & <Co>")
    assert isinstance(message, flask_mail.Message)
    assert (message.subject, message.recipients) == ("[Flasky] Fish & <Chips>", ["a@b.example"])
    reading = read(write(message).source)
    assert texts(reading, "plain") == "Hello Zoë & <Co>!\n"
    assert texts(reading, "html") == "<p>Hello Zoë &amp; &lt;Co&gt;!</p>\n"
    assert reading.mailboxes("From") == [("Flasky Admin", "flasky@example.com")]
    assert reading.python["Subject"] == "[Flasky] Fish & <Chips>"


def test_a_template_may_have_variables_of_any_name(templates: Any) -> None:
    templates(a_txt="{{ to }}{{ subject }}{{ template }}{{ self_ }}{{ app }}", a_html="{{ g }}{{ name }}")
    message = compose("a@b.example", "Hi", "a", to=1, subject=2, template=3, self_=4, app=5, g=6, name=7)
    assert (message.body, message.html) == ("12345", "67")


def test_the_message_can_be_added_to(templates: Any) -> None:
    templates(a_txt="x", a_html="x")
    message = compose(("Susan", "a@b.example"), "Hi", "a")
    message.attach("a.pdf", "application/pdf", b"%PDF")
    message.cc = ["c@b.example"]
    message.reply_to = "r@b.example"
    written = write(message)
    assert [address.envelope for address in written.recipients] == ["a@b.example", "c@b.example"]
    assert read(written.source).attachments == [("application/pdf", "a.pdf", b"%PDF")]


BROKEN = {
    "no text half": ({"a_html": "x"}, r"template a\.txt is missing: a mail needs both halves"),
    "no HTML half": ({"a_txt": "x"}, r"template a\.html is missing"),
    "neither": ({}, r"template a\.txt is missing"),
    "a missing parent": ({"a_txt": "{% extends 'gone.txt' %}", "a_html": "x"}, r"template gone\.txt is missing"),
    "a missing part": ({"a_txt": "{% include 'gone.txt' %}", "a_html": "x"}, r"template gone\.txt is missing"),
    "a missing variable": ({"a_txt": "x", "a_html": "{{ user }}"}, r"a\.html uses a variable that was not given: 'user'"),
    "a missing attribute": ({"a_txt": "{{ number.name }}", "a_html": "x"}, r"a\.txt uses a variable .*'name'"),
    "a missing variable in a condition": ({"a_txt": "{% if user %}x{% endif %}", "a_html": "x"}, "'user'"),
    "a syntax error": ({"a_txt": "x\n{% if %}", "a_html": "x"}, r"a\.txt is broken in line 2"),
    "an unknown filter": ({"a_txt": "{{ 1|gone }}", "a_html": "x"}, r"a\.txt is broken in line 1: .*gone"),
    "a syntax error in a part": ({"a_txt": "{% include 'b.txt' %}", "b_txt": "{% if %}", "a_html": "x"}, r"b\.txt is broken"),
    "an error of a type": ({"a_txt": "{{ number + 'x' }}", "a_html": "x"}, r"a\.txt cannot be rendered: TypeError"),
    "a division by zero": ({"a_txt": "x", "a_html": "{{ 1 / 0 }}"}, r"a\.html cannot be rendered: ZeroDivisionError"),
    "a wrong value": ({"a_txt": "{{ 'x'|int|batch(0)|list }}", "a_html": "x"}, r"a\.txt cannot be rendered"),
    "a page that is not there": ({"a_txt": "{{ url_for('gone') }}", "a_html": "x"}, r"a\.txt cannot be rendered: BuildError.*gone"),
    "an endless include": ({"a_txt": "{% include 'a.txt' %}", "a_html": "x"}, r"a\.txt cannot be rendered: RecursionError"),
    "bytes that are no UTF-8": ({"a_txt": "\udcff", "a_html": "x"}, r"a\.txt cannot be rendered: UnicodeDecodeError"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_template_is_named_and_nothing_is_stored(templates: Any, what: str) -> None:
    sources, culprit = BROKEN[what]
    templates(**sources)
    with pytest.raises(InvalidMessage, match=culprit):
        send_email("a@b.example", "Hi", "a", number=1)
    assert db.session.scalar(sa.text("SELECT count(*) FROM mail_email")) == 0


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (("nobody", "Hi", "mail/new_user"), "recipient 'nobody'"),
        ((None, "Hi", "mail/new_user"), "recipient is None"),
        ((["a@b.example"], "Hi", "mail/new_user"), "recipient is"),
        (("a@b.example", None, "mail/new_user"), "subject is NoneType"),
        (("a@b.example", b"Hi", "mail/new_user"), "subject is bytes"),
        (("a@b.example", "Hi\nthere", "mail/new_user"), "the header Subject holds a line break"),
        (("a@b.example", "Hi", "../../etc/passwd"), "is missing"),
        (("a@b.example", "Hi", "mail/\0"), "is missing"),
        (("a@b.example", "Hi", ""), "is missing"),
        (("a@b.example", "Hi", "mail/new_user.txt"), "is missing"),
    ],
)
def test_unusable_arguments_are_named(context: Flask, arguments: tuple[Any, ...], culprit: str) -> None:
    with pytest.raises(InvalidMessage, match=culprit):
        send_email(*arguments, user=User(name="susan"))


def test_the_plain_half_of_a_secret_variable_is_not_escaped_and_undefined_is_strict(templates: Any) -> None:
    templates(a_txt="{{ '<&>' }}{% if x is defined %}{{ x }}{% endif %}", a_html="{{ '<&>' }}")
    message = compose("a@b.example", "Hi", "a")
    assert (message.body, message.html) == ("<&>", "&lt;&amp;&gt;")


def test_links_begin_with_the_base_url_whatever_host_the_request_claims(make_app: Any, tmp_path: Path) -> None:
    app = make_app(flasky_base_url="https://www.b.example", flasky_trusted_hosts=("other.example",))
    with app.test_request_context(base_url="http://other.example"):
        message = compose("a@b.example", "Hi", "mail/new_user", user=User(name="susan"))
    for half in (message.body, message.html):
        assert "https://www.b.example/" in half
        assert "other.example" not in half


def test_the_site_s_own_mail_says_the_same_in_both_halves(context: Flask) -> None:
    reading = read(write(compose("a@b.example", "New User", "mail/new_user", user=User(name="Zoë <智子>"))).source)
    assert reading.structure == ["multipart/alternative", "text/plain", "text/html"]
    assert "Zoë <智子>" in texts(reading, "plain")
    assert "Zoë &lt;智子&gt;" in texts(reading, "html")
