"""Whatever is put in: a clear InvalidMessage and nothing stored, or a correct mail as two parsers read it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from flask_mail import Attachment, Message
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flask_outbox import InvalidMessage, enqueue
from flask_outbox.message.address import parse
from flask_outbox.message.writer import write
from flasky.extensions import db
from tests.outbox.readers import read, texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask

# The characters that break mail, far more often than chance would have them.
NASTY = (
    list("\r\n\0\t\x0b\x0c\x85\u2028\u2029\x7f\x1b\ud83d\udc80")
    + list(" \"\\,;:<>@()[]=?.'%*/")
    + ["ä", "智", "😀", "\u202e", "a", "B", "7"]
)
WORDS = [
    "\r\nBcc: eve@evil.example",
    "\r\n\r\n",
    "=?utf-8?q?x?=",
    "=?",
    "?=",
    "a@b.example",
    "  ",
    "x" * 80,
    "x" * 1000,
    "--=_",
    "\r\n.\r\n",
    "From ",
]
nasty = st.lists(st.sampled_from(NASTY + WORDS), max_size=12).map("".join)
clean = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=120)
text = st.one_of(nasty, clean, st.text(max_size=60))
anything = st.one_of(st.none(), st.integers(), st.binary(max_size=5), st.lists(text, max_size=2), text)
address = st.one_of(
    st.just("a@b.example"),
    text,
    st.tuples(text, st.sampled_from(["a@b.example", "zoë@b.example", "b@faß.de"])),
    st.builds("{} <a@b.example>".format, text),
    st.builds("a@{}.example".format, text),
    st.builds("{}@b.example".format, text),
    anything,
)
# Names that a header may have, and the ones that fuzzing should make of them.
header_name = st.one_of(
    st.sampled_from(["X-Tag", "x-tag", "Bcc", "Message-ID", "List-Unsubscribe", "Content-Type", "References", "Comments"]), text
)
headers = st.one_of(st.none(), st.dictionaries(header_name, st.one_of(text, anything), max_size=3))
content_type = st.one_of(
    st.sampled_from(["text/plain", "application/pdf", "message/rfc822", "multipart/mixed", "text/html; charset=x", "image/png"]),
    text,
)
attachment = st.builds(
    Attachment,
    filename=st.one_of(st.none(), text),
    content_type=content_type,
    data=st.one_of(st.binary(max_size=100), text),
    disposition=st.sampled_from([None, "attachment", "inline", "\r\n"]),
    headers=st.one_of(st.none(), st.dictionaries(st.sampled_from(["Content-ID", "X-Tag", "Bcc\r\n"]), text, max_size=1)),
)
quick = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture(autouse=True)
def _context(context: Flask) -> Iterator[None]:
    context.extensions["mail"].bell = type("Bell", (), {"ring": lambda _: None})()
    yield
    db.session.remove()


def make(**values: Any) -> Message:
    message = Message("Hi", ["a@b.example"], "text", sender="me@b.example")
    for name, value in values.items():
        setattr(message, name, value)
    return message


def rows() -> int:
    return int(db.session.scalar(sa.text("SELECT (SELECT count(*) FROM mail_email) + (SELECT count(*) FROM mail_content)")))


def stored(message: Message) -> bytes | None:
    """Enqueue *message*; return what is stored, or None where it was refused clearly and nothing was stored."""
    before = rows()
    try:
        emails = enqueue(message)
    except InvalidMessage as error:
        said = str(error)
        assert 20 <= len(said) < 500
        assert said.isprintable(), repr(said)
        db.session.commit()
        assert rows() == before
        return None
    assert rows() == before + len(emails) + 1
    return bytes(emails[0].content.source)


def same(given_text: str) -> str:
    return "\n".join(given_text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")) + "\n"


# A line break and a space between words, which the writer removes.
FOLD = re.compile(r"\r\n(?=[ \t]+[^\s])")


@quick
@given(subject=text)
@example(subject="a\r\n b")
@example(subject="a" + " " * 2000 + "b")
def test_any_subject(subject: str) -> None:
    if source := stored(make(subject=subject)):
        assert read(source).python["Subject"] == (FOLD.sub("", subject) or None)


@quick
@given(person=address, group=st.sampled_from(["recipients", "cc", "bcc", "sender", "reply_to"]))
def test_any_address(person: Any, group: str) -> None:
    source = stored(make(**{group: [person] if group in {"recipients", "cc", "bcc"} else person}))
    if source is None or not person:
        return
    if group == "bcc":
        assert b"\r\nBcc" not in source
        return
    if not source.isascii():  # SMTPUTF8: neither parser here reads it right
        assert not parse(person, "it").local.isascii()
        return
    reading = read(source)
    one = parse(person, "it")
    header = {"recipients": "To", "cc": "Cc", "sender": "From", "reply_to": "Reply-To"}[group]
    assert reading.mailboxes(header) == [(one.name, one.envelope)]
    assert reading.names.count(header.lower()) == 1
    assert "bcc" not in reading.names


@quick
@given(extra=headers)
def test_any_extra_headers(extra: Any) -> None:
    usual = read(write(make()).source).names
    if source := stored(make(extra_headers=extra)):
        reading = read(source)
        own = [str(name).lower() for name in extra or ()]
        assert sorted(reading.names) == sorted({*usual, *own})
        for name, value in (extra or {}).items():
            assert reading.python[name] in {str(value), " ".join(str(value).split())}


@quick
@given(body=text, html=st.one_of(st.none(), text))
def test_any_text(body: str, html: str | None) -> None:
    if source := stored(make(body=body, html=html)):
        reading = read(source)
        if html is not None:
            assert texts(reading, "html") == same(html)
        if body or html is None:
            assert texts(reading, "plain") == same(body)


@quick
@given(attachments=st.lists(attachment, min_size=1, max_size=3), html=st.sampled_from([None, "<p>"]))
def test_any_attachments(attachments: list[Attachment], html: str | None) -> None:
    source = stored(make(attachments=attachments, html=html))
    if source is None or any(one.content_type == "message/rfc822" for one in attachments):
        return  # what is inside of a message is its own affair; test_mime looks at good ones
    reading = read(source)
    wanted = {((one.filename or "").strip(), one.data.encode() if isinstance(one.data, str) else one.data) for one in attachments}
    assert {(name, content) for _, name, content in reading.attachments} == wanted
    assert len(reading.attachments) == len(attachments)
    assert b"\r\nBcc" not in source


@quick
@given(
    field=st.sampled_from(["subject", "recipients", "cc", "bcc", "sender", "reply_to", "body", "html", "date", "extra_headers"]),
    value=anything,
)
def test_values_of_any_type(field: str, value: Any) -> None:
    if source := stored(make(**{field: value})):
        read(source)


@quick
@given(subtype=text, content=text)
def test_any_alternative(subtype: str, content: str) -> None:
    if source := stored(make(alts={subtype: content})):
        assert len(read(source).structure) == 3


@pytest.mark.parametrize("filler", ["x", "智\r", "😀 .\n"])
def test_ten_megabytes_of_anything(filler: str) -> None:
    body = filler * (10_000_000 // len(filler.encode()))
    source = stored(make(body=body))
    assert source is not None
    assert texts(read(source), "plain") == same(body)


@pytest.mark.parametrize("bad", ["\0", "\ud800"])
def test_one_bad_character_in_ten_megabytes_is_found(bad: str) -> None:
    assert stored(make(body="x" * 5_000_000 + bad + "x" * 5_000_000)) is None


def test_a_thousand_recipients_and_one_bad_address() -> None:
    people = [f"number{number}@b.example" for number in range(1000)]
    assert stored(make(recipients=people)) is not None
    assert stored(make(recipients=[*people, "nobody"])) is None
