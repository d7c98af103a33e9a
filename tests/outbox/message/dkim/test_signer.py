"""Whatever the writer writes: two verifiers accept the signatures, and none once anything that is signed has changed."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask_mail import Attachment, Message
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flask_outbox import InvalidMessage
from flask_outbox.message.dkim.record import generate_key
from flask_outbox.message.dkim.signer import Signer
from flask_outbox.message.renewal import renew
from flask_outbox.message.writer import write
from tests.outbox.readers import read
from tests.outbox.verifiers import records_of, tags_of, verified

pytestmark = pytest.mark.usefixtures("flask_mail_context")

RSA, ED25519 = generate_key("mail", "b.example", "rsa"), generate_key("ed", "b.example", "ed25519")
OTHER = generate_key("other", "other.example", "ed25519")
BOTH = Signer([RSA, ED25519])
RECORDS = records_of([RSA, ED25519, OTHER])
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

words = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=150)
long = st.builds(lambda word, number: f"{word} " * number, words, st.integers(1, 30)).map(str.strip)
lines = st.lists(
    st.sampled_from(["", ".", "..", " ", "\t", "a  b\t c ", "From me", "Zoë 智子 " * 20, "x" * 2000, "--", "\t.", "end  "]),
    max_size=8,
).map("\n".join)
local = st.sampled_from(["a", "zoë", "o'hara", "x" * 64])
person = st.tuples(words, local.map("{}@b.example".format))
extra = st.dictionaries(st.sampled_from(["X-Tag", "Comments", "Organization"]), long, max_size=2)


def make(**values: Any) -> Message:
    message = Message("Hi", ["a@b.example"], "text", sender="Me <me@b.example>")
    for name, value in values.items():
        setattr(message, name, value)
    return message


def written(**values: Any) -> bytes:
    return write(make(**values)).source


@quick
@given(subject=long, sender=person, to=st.lists(person, min_size=1, max_size=12), headers=extra)
@example(subject="", sender=("", "zoë@b.example"), to=[("", "a@b.example")], headers={})
def test_any_header_verifies(subject: str, sender: Any, to: list[Any], headers: dict[str, str]) -> None:
    try:
        source = written(subject=subject, sender=sender, recipients=to, extra_headers=headers)
    except InvalidMessage:
        return
    signed = BOTH.sign(source)
    assert verified(signed, RECORDS) == ["mail", "ed"]
    if signed.isascii():
        assert read(signed).names[:3] == ["dkim-signature", "dkim-signature", "from"]


@quick
@given(body=st.one_of(lines, words), html=st.one_of(st.none(), lines), files=st.lists(st.binary(max_size=300), max_size=2))
@example(body="", html=None, files=[])
@example(body="\n\n \n\t\n", html=None, files=[])
@example(body=" ", html=None, files=[])
@example(body="\n\nx\n \n\n", html=None, files=[])
def test_any_body_verifies(body: str, html: str | None, files: list[bytes]) -> None:
    attachments = [Attachment("a.bin", "application/octet-stream", data) for data in files]
    signed = BOTH.sign(written(body=body, html=html, attachments=attachments))
    assert verified(signed, RECORDS) == ["mail", "ed"]
    assert max(map(len, signed.partition(b"\r\nFrom:")[0].split(b"\r\n"))) <= 78


def test_a_body_in_eight_bits_verifies_although_the_writer_makes_none() -> None:
    head = written().partition(b"\r\n\r\n")[0]
    for body in ("Zoë  智\t \r\n", "", "\r\n", "no line end", "\t\r\n\r\n"):
        assert verified(BOTH.sign(head + b"\r\n\r\n" + body.encode()), RECORDS) == ["mail", "ed"]


def change(old: bytes, new: bytes) -> Any:
    def changed(source: bytes) -> bytes:
        assert source.count(old) >= 1
        return source.replace(old, new, 1)

    return changed


FORGED = {
    "the sender": change(b"From: Me <", b"From: Eve <"),
    "the recipient": change(b"To: a@", b"To: e@"),
    "the subject": change(b"Subject: Hi", b"Subject: Ho"),
    "the date": lambda source: re.sub(rb"\r\nDate: [^\r]+", b"\r\nDate: Thu, 01 Jan 2026 00:00:00 +0000", source),
    "the body": change(b"text\r\n", b"test\r\n"),
    "a line more": lambda source: source + b"more\r\n",
    "the type": change(b"Content-Type: text/plain", b"Content-Type: text/html"),
    "the way to unsubscribe": change(b"List-Unsubscribe: <https://b", b"List-Unsubscribe: <https://e"),
    "the time of signing": lambda source: re.sub(rb" t=(\d+);", lambda found: b" t=%d;" % (int(found[1]) + 1), source),
} | {
    f"another {name}": change(b"From: ", f"{name}: x@evil.example\r\nFrom: ".encode())
    for name in (
        "From",
        "To",
        "Cc",
        "Subject",
        "Date",
        "Reply-To",
        "Message-ID",
        "Content-Type",
        "List-Id",
        "List-Unsubscribe-Post",
    )
}


@pytest.mark.parametrize("what", FORGED)
def test_a_forgery_is_seen(what: str) -> None:
    signed = BOTH.sign(written(extra_headers={"List-Unsubscribe": "<https://b.example/stop>"}))
    assert verified(signed, RECORDS) == ["mail", "ed"]
    assert verified(FORGED[what](signed), RECORDS) == []


HARMLESS = {
    "a line on top": lambda source: b"Received: from x by y\r\nX-Original-To: a@b.example\r\n" + source,
    "other folds": change(b"Subject: Hi there", b"Subject:  Hi\r\n\tthere "),
    "spaces at the end of a line": change(b"text\r\n", b"text  \r\n"),
    "empty lines at the end": lambda source: source + b"\r\n\r\n",
    "other capitals": change(b"Subject:", b"SUBJECT:"),
    "a header of the receiver's": change(b"From: ", b"X-Spam-Status: No\r\nFrom: "),
}


@pytest.mark.parametrize("what", HARMLESS)
def test_what_servers_do_on_the_way_breaks_nothing(what: str) -> None:
    signed = BOTH.sign(written(subject="Hi there"))
    assert verified(HARMLESS[what](signed), RECORDS) == ["mail", "ed"]


def test_headers_that_a_list_may_add_are_signed_only_if_they_occur() -> None:
    values = {"Sender": "s@b.example", "References": "<1@b.example>", "Feedback-ID": "1:2:3"}
    bare, full = (tags_of(Signer([ED25519]).sign(written(extra_headers=headers)))["h"].split(":") for headers in ({}, values))
    assert [full.count(name) for name in ("sender", "references", "feedback-id")] == [1, 1, 1]
    assert [bare.count(name) for name in ("sender", "references", "feedback-id")] == [0, 0, 0]
    assert [bare.count(name) for name in ("from", "cc", "list-unsubscribe")] == [2, 1, 1]


KEYS = {name: generate_key("mail", name, "ed25519") for name in ("b.example", "mail.b.example", "deep.mail.b.example", "c.example")}


@pytest.mark.parametrize(
    ("sender", "domains", "signs"),
    [
        ("b.example", ["b.example", "c.example"], "b.example"),
        ("news.b.example", ["b.example", "c.example"], "b.example"),
        ("mail.b.example", ["b.example", "mail.b.example"], "mail.b.example"),
        ("x.mail.b.example", ["b.example", "mail.b.example"], "mail.b.example"),
        # RFC 7489, 3.1.1, and RFC 9989: aligned in the relaxed mode.
        ("b.example", ["mail.b.example", "c.example"], "mail.b.example"),
        ("b.example", ["deep.mail.b.example", "mail.b.example"], "mail.b.example"),
        ("B.Example", ["b.example"], "b.example"),
        ("other.example", ["b.example", "c.example"], None),
        ("notb.example", ["b.example"], None),
        ("b.example", [], None),
    ],
)
def test_the_keys_of_the_sender_s_domain_sign(sender: str, domains: list[str], signs: str | None) -> None:
    source = written(sender=("Me @ Work", f"me@{sender}"))
    signed = Signer(KEYS[domain] for domain in domains).sign(source)
    assert (tags_of(signed.partition(b"\r\nFrom:")[0])["d"] if signed != source else None) == signs


def test_an_international_domain_is_signed_in_its_ascii_form() -> None:
    key = generate_key("mail", "grüße.example", "ed25519")
    signed = Signer([key]).sign(written(sender="me@grüße.example"))
    assert key.domain == "xn--gre-6ka8l.example"
    assert verified(signed, records_of([key])) == ["mail"]


def moment(signed: bytes) -> datetime:
    return datetime.fromtimestamp(int(tags_of(signed.partition(b"\r\nFrom:")[0])["t"]), UTC)


def test_a_signature_dates_from_when_the_message_goes_out() -> None:
    signer, source, now = Signer([ED25519]), written(), datetime.now(UTC).replace(microsecond=0)
    assert abs(moment(signer.sign(source)) - now) < timedelta(minutes=1)
    assert moment(signer.sign(source, now + timedelta(days=1))) == now + timedelta(days=1)
    assert abs(moment(signer.sign(source, now - timedelta(days=1))) - now) < timedelta(minutes=1)


def test_what_is_signed_by_the_present_keys_stays_as_it_is() -> None:
    for source in (written(), written(sender=("Zoë", "zoë@b.example")), written(sender="me@stranger.example")):
        signed = BOTH.sign(source)
        assert BOTH.renew(signed) is signed
        assert Signer().renew(signed) is signed


def test_what_is_unsigned_or_signed_by_other_keys_is_signed_again() -> None:
    source = written()
    now, new = Signer([RSA]), generate_key("new", "b.example", "ed25519")
    for stored in (source, now.sign(source), BOTH.sign(source), Signer([new]).sign(source), Signer([ED25519, RSA]).sign(source)):
        again = BOTH.renew(stored)
        assert again.endswith(b"\r\n" + source) or again == stored
        assert again.count(b"DKIM-Signature:") == 2
        assert verified(again, RECORDS) == ["mail", "ed"]
        assert BOTH.renew(again) is again


@pytest.mark.parametrize("subject", [None, "[copy] Hi"])
def test_what_an_operator_sends_again_gets_a_signature_of_its_own(subject: str | None) -> None:
    renewed = renew(BOTH.sign(written()), "me@b.example", subject=subject).source
    assert b"DKIM-Signature" not in renewed
    assert verified(BOTH.renew(renewed), RECORDS) == ["mail", "ed"]


def test_a_content_for_many_recipients_is_signed_again_once() -> None:
    source = written()
    assert BOTH.renew(source) is BOTH.renew(source)
