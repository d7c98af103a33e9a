"""The templates page: each mail with its sample data, in a frame where nothing runs, and sent to the operator alone."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest

from flask_outbox.desk import Action

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flask import Flask
    from flask.testing import FlaskClient

PAGE = '<html lang="en"><head><title>Hi</title></head><body>{}</body></html>'
HOSTILE = "<script>alert(1)</script><img src=https://evil.example/x onerror=alert(1)>\"'"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., None]:
    """A function that writes a mail of the app."""

    def write(name: str = "mail/hello", text: str = "Hello", html: str = PAGE.format("Hello"), sample: str | None = None) -> None:
        for suffix, source in ((".txt", text), (".html", html), (".py", sample)):
            if source is not None:
                path = tmp_path / "templates" / f"{name}{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(source)

    return write


@pytest.fixture
def post(client: FlaskClient) -> Callable[..., Any]:
    """A function that posts a form with its token."""

    def post(path: str, **fields: str) -> Any:
        token = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/desk/templates/mail/hello/").text)
        assert token
        return client.post(path, data=fields | {"csrf_token": token[1]}, headers={"X-User": "susan"})

    return post


def test_an_app_without_mails_says_what_a_mail_is(client: FlaskClient) -> None:
    assert "<code>mail/welcome.txt</code>" in client.get("/desk/templates/").text


def test_the_list_names_each_mail_its_samples_and_what_lint_says(client: FlaskClient, write: Callable[..., None]) -> None:
    write("mail/good", sample='subject = "Hi"\ndef default(): return {}\ndef long_name(): return {}')
    write("mail/bad", "Fish &amp; Chips")
    page = client.get("/desk/templates/").text
    assert re.search(
        r'mail/bad/">mail/bad</a>.*no sample data.*1 error<.*mail/good/">mail/good</a>.*Nothing found', page, re.DOTALL
    )
    assert 'href="/desk/templates/mail/good/?variant=long_name">long name</a>' in page


def test_one_mail_shows_both_halves_and_the_subject(client: FlaskClient, write: Callable[..., None]) -> None:
    sample = """
subject = "Hi {{ name }}"
def default():
    return {"name": "Zoë & Co"}
def other():
    'Another name.'
    return {"name": "x"}
"""
    write(text="Hello {{ name }}", html=PAGE.format("<p>Dear {{ name }}</p>"), sample=sample)
    page = client.get("/desk/templates/mail/hello/").text
    assert "<dd>Hi Zoë &amp; Co</dd>" in page
    assert "<pre>Hello Zoë &amp; Co</pre>" in page
    assert "Dear Zoë &amp; Co" in client.get("/desk/template-html/mail/hello/").text
    page = client.get("/desk/templates/mail/hello/?variant=other").text
    assert "<dd>Hi x</dd>" in page
    assert "Another name." in page
    assert "Dear x" in client.get("/desk/template-html/mail/hello/?variant=other").text


def test_the_switches_keep_what_the_others_say(client: FlaskClient, write: Callable[..., None]) -> None:
    write(sample="def default(): return {}\ndef other(): return {}")
    page = unescape(client.get("/desk/templates/mail/hello/?variant=other&width=desktop&colours=dark").text)
    assert '/desk/templates/mail/hello/?variant=other&width=phone&colours=dark#preview">Phone, 390 px</a>' in page
    assert '/desk/templates/mail/hello/?variant=other&width=desktop&colours=inverted#preview">Inverted</a>' in page
    current = re.findall(r'aria-current="true">(\w+)', page)
    assert current == ["Other", "Desktop", "Dark"]
    assert "no colours of its own for a dark screen" in page


def test_an_argument_that_makes_no_sense_is_the_usual_one_or_not_found(client: FlaskClient, write: Callable[..., None]) -> None:
    write(sample="def default(): return {}")
    assert client.get("/desk/templates/mail/hello/?width=<b>&colours=x&sent=y").status_code == 200
    assert client.get("/desk/templates/mail/hello/?variant=x").status_code == 404
    assert client.get("/desk/template-html/mail/hello/?variant=x").status_code == 400
    for name in ("mail/nothing", "mail/../../etc/passwd", "mail/_layout", "/etc/passwd"):
        assert client.get(f"/desk/templates/{name}/").status_code in {404, 308}


def test_a_mail_that_cannot_be_rendered_says_why(client: FlaskClient, write: Callable[..., None]) -> None:
    write(text="{{ name }}")
    page = unescape(client.get("/desk/templates/mail/hello/").text)
    assert "uses a variable that was not given: 'name' is undefined. There is no sample data: create" in page
    assert "Send me this one" not in page
    write(sample="1 / 0")
    assert "ZeroDivisionError" in client.get("/desk/templates/mail/hello/").text
    assert "ZeroDivisionError" in client.get("/desk/template-html/mail/hello/").text
    assert client.get("/desk/templates/").status_code == 200


def test_hostile_sample_values_are_escaped_or_framed(client: FlaskClient, write: Callable[..., None]) -> None:
    sample = f'subject = "{{{{ name }}}}"\ndef default():\n  """{HOSTILE[:-2]}"""\n  return {{"name": {HOSTILE!r}}}'
    write(text="{{ name }}", html=PAGE.format("{{ name|safe }}"), sample=sample)
    page = client.get("/desk/templates/mail/hello/").text
    assert "<script>alert" not in page
    assert "<img src=https" not in page
    framed = client.get("/desk/template-html/mail/hello/")
    assert framed.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert framed.headers["Content-Security-Policy"].startswith("sandbox ")
    assert "default-src 'none'; img-src data:;" in framed.headers["Content-Security-Policy"]


SCHEMES = "<style>@media (prefers-color-scheme: dark){p{a:b}}</style>"


@pytest.mark.parametrize(("colours", "answer"), [("light", "max"), ("dark", "min"), ("inverted", "max")])
def test_the_colours_are_chosen_in_the_frame(client: FlaskClient, write: Any, colours: str, answer: str) -> None:
    write(html=PAGE.format(SCHEMES))
    html = client.get(f"/desk/template-html/mail/hello/?colours={colours}").text
    assert f"@media ({answer}-width: 0){{p{{a:b}}}}" in html
    assert ("filter:invert" in html) is (colours == "inverted")


def test_a_mail_can_be_seen_without_a_sender(client: FlaskClient, write: Any, app: Flask) -> None:
    app.extensions["mail"].default_sender = None
    object.__setattr__(app.extensions["mail"].settings, "template_sender", None)
    write()
    assert "Hello" in client.get("/desk/template-html/mail/hello/").text


def test_a_mail_that_cannot_be_written_says_why(client: FlaskClient, write: Callable[..., None]) -> None:
    write(text="a\0b")
    answer = client.get("/desk/template-html/mail/hello/")
    assert answer.status_code == 400
    assert "NUL character" in answer.text


def test_an_attached_image_is_shown(client: FlaskClient, write: Callable[..., None]) -> None:
    sample = (
        "from flask_outbox import Message\ndef default():\n"
        "  message = Message('Hi', ['a@example.com'], 'Hi', '<img alt=\"\" src=\"cid:logo\"><img alt=\"\" src=\"cid:logo2\">')\n"
        "  message.attach('a.png', 'image/png', b'PNG', headers={'Content-ID': '<logo>'})\n  return message"
    )
    write(sample=sample)
    html = client.get("/desk/template-html/mail/hello/").text
    assert '<img alt="" src="data:image/png;base64,UE5H"><img alt="" src="cid:logo2">' in html


def test_send_me_this_one(client: FlaskClient, write: Callable[..., None], post: Callable[..., Any], execute: Any) -> None:
    write(
        text="Hello {{ name }}",
        sample='subject = "Hi {{ name }}"\ndef default(): return {"name": "x"}\ndef other(): return {"name": "Zoë"}',
    )
    answer = post("/desk/template-send/mail/hello/", variant="other")
    assert answer.headers["Location"] == "/desk/templates/mail/hello/?variant=other&sent=1"
    query = "SELECT recipient, template, subject FROM mail_email JOIN mail_content c ON c.id = content_id"
    assert [tuple(row) for row in execute(query)] == [("operator@example.com", "mail/hello", "Hi Zoë")]
    query = "SELECT actor, address, action, expected, changed, detail FROM mail_audit WHERE finished_at IS NOT NULL"
    told = "mail/hello (other), sent to operator@example.com"
    assert [tuple(row) for row in execute(query)] == [("susan", "127.0.0.1", "preview", 1, 1, told)]
    assert [tuple(row) for row in execute("SELECT audit_id, email_id FROM mail_audit_email")] == [(1, 1)]
    assert "operator@example.com is in the outbox" in client.get(answer.headers["Location"]).text


def test_a_message_with_other_recipients_goes_to_the_operator_alone(write: Any, post: Callable[..., Any], execute: Any) -> None:
    sample = (
        "from flask_outbox import Message\ndef default():\n"
        "  return Message('Hi', ['a@example.com', 'b@example.com'], 'Hi', cc=['c@example.com'], bcc=['d@example.com'])"
    )
    write(sample=sample)
    assert post("/desk/template-send/mail/hello/").status_code == 302
    assert list(execute("SELECT recipient FROM mail_email").scalars()) == ["operator@example.com"]


def test_a_mail_that_cannot_be_sent_says_why_and_leaves_nothing(write: Any, post: Callable[..., Any], execute: Any) -> None:
    write(sample="from flask_outbox import Message\ndef default(): return Message('Hi', ['x@example.com'], 'a\\0b')")
    answer = post("/desk/template-send/mail/hello/")
    assert answer.status_code == 400
    assert "NUL character" in answer.text
    assert execute("SELECT count(*) FROM mail_audit").scalar() == 0


@pytest.mark.parametrize("path", ["templates/", "templates/mail/hello/", "template-html/mail/hello/"])
def test_a_preview_needs_the_right(client: FlaskClient, write: Callable[..., None], rule: Any, path: str) -> None:
    write()
    assert client.get(f"/desk/{path}").status_code == 200
    rule.denied = {Action.PREVIEW}
    assert client.get(f"/desk/{path}").status_code == 403


def test_sending_needs_the_right(write: Callable[..., None], post: Callable[..., Any], client: FlaskClient, rule: Any) -> None:
    write()
    with client.session_transaction() as session:
        session["mail_desk_csrf"] = "token"
    rule.denied = {Action.PREVIEW}
    answer = client.post("/desk/template-send/mail/hello/", data={"csrf_token": "token"})
    assert answer.status_code == 403
