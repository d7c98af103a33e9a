"""The writer, read back by two parsers that share no code with it or with each other."""

from __future__ import annotations

import re
from email import message_from_bytes, message_from_string, policy
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask
from flask_mail import Attachment, Message

from flask_outbox.errors import InvalidMessage
from flask_outbox.message.writer import write
from flasky.mail import mail
from tests.outbox.readers import check_raw, read, texts, tree, write_and_read

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_outbox.testing import SmtpServer
    from tests.outbox.readers import Reading

pytestmark = pytest.mark.usefixtures("flask_mail_context")

BREAKS = ["\r\n", "\r", "\n", "\x0b", "\x0c", "\x85", "\u2028", "\u2029"]
OTHERS = ["\0", "\x1b", "\x7f", "\ud83d", "\udc80"]
WHERE = {
    "the subject": lambda bad: {"subject": f"Hi{bad}Bcc: eve@evil.example"},
    "the subject's end": lambda bad: {"subject": f"Hi{bad}"},
    "a recipient": lambda bad: {"recipients": [f"a@b.example{bad}Bcc: eve@evil.example"]},
    "a recipient's end": lambda bad: {"recipients": [f"a@b.example{bad}"]},
    "a recipient's name": lambda bad: {"recipients": [(f"A{bad}Bcc: eve@evil.example", "a@b.example")]},
    "a recipient's name in one string": lambda bad: {"recipients": [f"A{bad}Bcc: eve@evil.example <a@b.example>"]},
    "the end of a name": lambda bad: {"recipients": [(f"A{bad}", "a@b.example")]},
    "cc": lambda bad: {"cc": [f"a{bad}@b.example"]},
    "bcc": lambda bad: {"bcc": [(f"A{bad}", "a@b.example")]},
    "the sender": lambda bad: {"sender": f"Me{bad}Bcc: eve@evil.example <me@b.example>"},
    "reply_to": lambda bad: {"reply_to": f"me@b.example{bad}"},
    "an extra header": lambda bad: {"extra_headers": {"X-Tag": f"a{bad}Bcc: eve@evil.example"}},
    "the name of a header": lambda bad: {"extra_headers": {f"X-Tag{bad}Bcc": "eve@evil.example"}},
    "a structured header": lambda bad: {"extra_headers": {"List-Unsubscribe": f"<https://b.example/>{bad}Bcc: eve@evil.example"}},
    "the Message-ID": lambda bad: {"extra_headers": {"Message-ID": f"<a@b.example>{bad}Bcc: eve@evil.example"}},
    "a filename": lambda bad: {"attachments": [Attachment(f"a{bad}b.txt", "text/plain", b"")]},
    "a content type": lambda bad: {"attachments": [Attachment("a.txt", f"text/plain;{bad}Bcc=eve", b"")]},
    "the end of a content type": lambda bad: {"attachments": [Attachment("a.txt", f"text/plain{bad}", b"")]},
    "a parameter": lambda bad: {"attachments": [Attachment("a.txt", f'text/plain; x="a{bad}b"', b"")]},
    "a part's header": lambda bad: {"attachments": [Attachment("a.txt", "text/plain", b"", headers={"X-Tag": f"a{bad}b"})]},
    "a Content-ID": lambda bad: {
        "html": "x",
        "attachments": [Attachment("a", "image/png", b"", headers={"Content-ID": f"<a{bad}>"})],
    },
    "a disposition": lambda bad: {"attachments": [Attachment("a.txt", "text/plain", b"", f"attachment{bad}")]},
    "a subtype": lambda bad: {"alts": {f"calendar{bad}": "x"}},
}


def make(**changes: Any) -> Message:
    values: dict[str, Any] = {"subject": "Hi", "recipients": ["a@b.example"], "body": "text", "sender": "me@b.example"}
    return Message(**values | changes)


def both(**changes: Any) -> Reading:
    return write_and_read(make(**changes))[1]


@pytest.mark.parametrize("bad", BREAKS + OTHERS, ids=lambda bad: f"U+{ord(bad[0]):04X}{'+LF' if len(bad) > 1 else ''}")
@pytest.mark.parametrize("where", WHERE)
def test_nothing_that_could_end_a_header_gets_into_one(where: str, bad: str) -> None:
    with pytest.raises(InvalidMessage, match=r".{20}") as error:
        write(make(**WHERE[where](bad)))
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("changes", "culprit"),
    [
        ({"sender": None}, "no sender"),
        ({"recipients": []}, "no recipient"),
        ({"recipients": "a@b.example"}, "recipients is str"),
        ({"recipients": (one for one in ["a@b.example"])}, "recipients is generator"),
        ({"recipients": [None]}, "recipient is None"),
        ({"recipients": [["a", "b"]]}, "recipient is"),
        ({"recipients": [("A", "a@b.example", "c")]}, "recipient is"),
        ({"recipients": ["A <a@b.example>, B <b@b.example>"]}, "several addresses"),
        ({"cc": ["nobody"]}, "cc 'nobody'"),
        ({"bcc": ["nobody@"]}, "bcc 'nobody@'"),
        ({"reply_to": "nobody"}, "reply_to 'nobody'"),
        ({"reply_to": ["a@b.example", "nobody"]}, "reply_to 'nobody'"),
        ({"reply_to": ["a@b.example", ""]}, "reply_to '' is not"),
        ({"reply_to": {"a": "a@b.example"}}, "reply_to is"),
        ({"sender": "nobody"}, "sender 'nobody'"),
        ({"subject": b"Hi"}, "the subject is bytes"),
        ({"body": b"Hi"}, "body is bytes"),
        ({"html": 5}, "'html' is int"),
        ({"body": "a\0b"}, "body holds a NUL"),
        ({"html": "a\0b"}, "'html' holds a NUL"),
        ({"body": "a\ud800b"}, "body holds half a surrogate pair at position 2"),
        ({"html": "\udcff"}, "'html' holds half a surrogate pair"),
        ({"alts": {"calendar": "\udcff"}}, "'calendar' holds half a surrogate pair"),
        ({"alts": {"plain; charset=latin-1": "x"}}, "content type"),
        ({"alts": {"": "x"}}, "content type"),
        ({"date": "today"}, "the date is 'today'"),
        ({"date": -1}, "the date is -1"),
        ({"date": 1e20}, "the date is 1e[+]20"),
        ({"date": float("nan")}, "the date is nan"),
        ({"extra_headers": {"Bcc": "eve@evil.example"}}, "extra_headers holds bcc"),
        ({"extra_headers": {"SUBJECT": "x"}}, "extra_headers holds subject"),
        ({"extra_headers": {"Content-Type": "text/html"}}, "extra_headers holds content-type"),
        ({"extra_headers": {"X-A": "1", "x-a": "2"}}, "'x-a' twice"),
        ({"extra_headers": {"Message-ID": "<a@b.example>", "message-id": "<c@b.example>"}}, "'message-id' twice"),
        ({"extra_headers": {"Message-ID": "a@b.example"}}, "Message-ID"),
        ({"extra_headers": {"Message-ID": "<a@b@c.example>"}}, "Message-ID"),
        ({"extra_headers": {"Message-ID": f"<{'a' * 300}@b.example>"}}, "Message-ID"),
        ({"extra_headers": {"X A": "1"}}, "no name for a header"),
        ({"extra_headers": {"X:A": "1"}}, "no name for a header"),
        ({"extra_headers": {"": "1"}}, "no name for a header"),
        ({"extra_headers": {"X" * 1000: "1"}}, "no name for a header"),
        ({"extra_headers": {"X-Ä": "1"}}, "no name for a header"),
        ({"extra_headers": {"X-A": None}}, "X-A"),
        ({"extra_headers": {"X-A": b"1"}}, "X-A"),
        ({"extra_headers": "X-A: 1"}, "extra_headers is"),
        ({"extra_headers": {"List-Unsubscribe": "<https://b.example/ä>"}}, "List-Unsubscribe has to be ASCII"),
        ({"extra_headers": {"List-Unsubscribe": f"<https://b.example/{'a' * 990}>"}}, "List-Unsubscribe has to be ASCII"),
        ({"attachments": [Attachment("a", "text", b"")]}, "attachment 'a' has the content type 'text'"),
        ({"attachments": [Attachment("a", "text/plain; charset=a; charset=b", b"")]}, "attachment 'a' has the content type"),
        ({"attachments": [Attachment("a", "text/ä", b"")]}, "attachment 'a' has the content type"),
        ({"attachments": [Attachment("a", f"text/{'a' * 1000}", b"")]}, "attachment 'a' has the content type"),
        ({"attachments": [Attachment("a", "text/plain", 5)]}, "attachment 'a' is int"),
        ({"attachments": [Attachment("a", "text/plain", "\ud800")]}, "attachment 'a' holds half a surrogate"),
        ({"attachments": [Attachment("a", "text/plain", b"", "inlined")]}, "attachment 'a' has the disposition"),
        ({"attachments": [Attachment("a", "text/plain", b"", headers={"Content-Type": "x/y"})]}, "sets Content-Type by hand"),
        ({"attachments": [Attachment(b"a", "text/plain", b"")]}, "the filename of the attachment"),
        ({"html": "x", "attachments": [Attachment("a", "image/png", b"", headers={"Content-ID": "logo"})]}, "looks? like <logo>"),
    ],
)
def test_what_can_never_be_sent_is_refused_and_named(changes: dict[str, Any], culprit: str) -> None:
    message = make()
    for name, value in changes.items():
        setattr(message, name, value)
    with pytest.raises(InvalidMessage, match=culprit):
        write(message)


@pytest.mark.parametrize(
    "subject",
    [
        "Hi",
        "ordinary " * 20 + "end",
        "x" * 77,
        "x" * 500,
        "x" * 5000,
        "a" + " " * 2000 + "b",
        "double  blanks   and more    " * 5 + "end",
        " leading",
        "trailing ",
        " ",
        "\t",
        "a\ttab",
        "\ta\t\tb\t",
        "=?utf-8?q?not_encoded?=",
        "what =? this ?= is",
        "a =?utf-8?b?w6Q=?= b",
        "Zoë 智子",
        "ä" * 300,
        "ä ö  ü " * 40,
        "😀" * 200,
        "👩‍👩‍👧‍👦 family " * 20,
        "e\u0301 combining",
        "שלום עולם",
        "مرحبا \u202e reversed \u202c",
        "non\u00a0breaking",
        "\ufeffBOM",
        "quotes \" and ' and \\ and (a comment) <b@c.example>, ; :",
        "From me",
        "a, b: c; d",
        "ASCII and then ä " + "x" * 200,
    ],
)
def test_any_subject_is_read_as_it_was_written(subject: str) -> None:
    assert both(subject=subject).python["Subject"] == subject


@pytest.mark.parametrize("subject", ["", None])
def test_without_a_subject_there_is_no_header_for_it(subject: str | None) -> None:
    assert "subject" not in both(subject=subject).names


@pytest.mark.parametrize(
    "name",
    [
        "Susan",
        "Susan B. Anthony",
        "Doe, John",
        'John "Johnny" Doe',
        "back\\slash",
        "a@b.example",
        "(not a comment)",
        "a  b",
        "a\tb",
        "x" * 60,
        "x" * 61,
        "ordinary " * 30 + "end",
        "=?utf-8?q?x?=",
        "Zoë 智子",
        'Zoë, "the" <great> 智子; (all)',
        "智" * 200,
        "😀" * 50,
        "שלום",
        "semi; colon: group",
        "<a@b.example>",
        "dots.and.more",
        "'single'",
    ],
)
@pytest.mark.parametrize("header", ["recipients", "cc", "sender", "reply_to"])
def test_any_display_name_is_read_as_it_was_written(name: str, header: str) -> None:
    message = make()
    person = (name, "one@b.example")
    setattr(message, header, [person] if header in {"recipients", "cc"} else person)
    reading = read(write(message).source)
    found = {"recipients": "To", "cc": "Cc", "sender": "From", "reply_to": "Reply-To"}[header]
    assert reading.mailboxes(found) == [person]


def test_many_people_with_names_of_every_kind_are_all_read() -> None:
    people = [
        (name, f"{number}@b.example")
        for number, name in enumerate(["", "Susan", "Doe, John", "Zoë 智子", "智" * 60, 'a "b"', "x" * 59, "y" * 100] * 10)
    ]
    assert both(recipients=people[:50], cc=people[50:]).people == people


def test_an_international_domain_goes_out_in_its_own_ascii_form() -> None:
    written, reading = write_and_read(make(recipients=["a@faß.de", ("B", "b@bücher.example")], sender="me@faß.de"))
    assert [address.envelope for address in written.recipients] == ["a@xn--fa-hia.de", "b@xn--bcher-kva.example"]
    assert written.sender.envelope == "me@xn--fa-hia.de"
    assert [one for _, one in reading.people] == ["a@xn--fa-hia.de", "b@xn--bcher-kva.example"]
    assert written.message_id.endswith("@xn--fa-hia.de>")


def test_a_non_ascii_local_part_is_written_in_utf8_and_only_in_the_header() -> None:
    written = write(make(recipients=[("Zoë", "zoë@b.example")], body="ä"))
    head, _, body = written.source.partition(b"\r\n\r\n")
    assert body.isascii()
    message = message_from_string(head.decode() + "\r\n\r\n", policy=policy.default)
    (one,) = message["To"].addresses
    assert (one.display_name, one.addr_spec) == ("Zoë", "zoë@b.example")


def test_bcc_is_in_the_envelope_and_in_no_header() -> None:
    written, reading = write_and_read(make(cc=["c@b.example"], bcc=[("Secret", "hidden@b.example")]))
    assert [address.envelope for address in written.recipients] == ["a@b.example", "c@b.example", "hidden@b.example"]
    assert "bcc" not in reading.names
    assert b"hidden" not in written.source
    assert b"Secret" not in written.source


def test_with_bcc_alone_the_to_names_nobody() -> None:
    written, reading = write_and_read(make(recipients=[], bcc=["b@b.example"]))
    assert [address.envelope for address in written.recipients] == ["b@b.example"]
    assert b"\r\nTo: undisclosed-recipients:;\r\n" in written.source
    assert reading.python["To"].addresses == ()
    assert reading.rust.to == []


def test_with_cc_and_without_recipients_there_is_no_to() -> None:
    reading = both(recipients=[], cc=["c@b.example"])
    assert "to" not in reading.names
    assert reading.people == [("", "c@b.example")]


def test_replies_may_go_to_several_addresses() -> None:
    reading = both(reply_to=[("Zoë", "z@b.example"), "b@b.example"])
    assert reading.mailboxes("Reply-To") == [("Zoë", "z@b.example"), ("", "b@b.example")]


class Lazy:
    """A string that is translated when it is read, as Flask-Babel's lazy_gettext returns it."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


@pytest.mark.parametrize(
    ("subject", "shown"),
    [("a\r\n b", "a b"), ("ä\r\n\t ö\r\n x", "ä\t ö x"), (Lazy("Grüße"), "Grüße"), (Lazy("a\r\n b"), "a b")],
)
def test_a_subject_is_unfolded_and_may_be_lazy(subject: Any, shown: str) -> None:
    written, reading = write_and_read(make(subject=subject))
    assert written.subject == reading.python["Subject"] == shown


@pytest.mark.parametrize("subject", ["a\n b", "a\r\nb", "a\r\n ", "a\r\n \r\n b", "a\r\n\r\n b", "a\r\n \x0bb", "\r\n"])
def test_no_other_line_break_in_a_subject_is_a_fold(subject: str) -> None:
    with pytest.raises(InvalidMessage, match="holds a line break"):
        write(make(subject=subject))


def test_who_is_named_twice_gets_it_once_in_the_order_of_first_mention() -> None:
    written = write(
        make(
            recipients=["b@b.example", ("A", "a@b.example"), "b@B.example"], cc=["a@b.example"], bcc=["c@b.example", "b@b.example"]
        )
    )
    assert [address.envelope for address in written.recipients] == ["b@b.example", "a@b.example", "c@b.example"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "one line",
        "one line\n",
        "a\n\n\nb\n\n",
        "bare\rCR and\nLF and\r\nCRLF\r",
        ".\n..\n.leading dot\n",
        "From me\n>From you\nFrom: x\n",
        "trailing blank \nand tab\t\nend \n",
        "x" * 990,
        "x" * 991,
        "x" * 5000,
        "y" * 998 + "\n" + "z" * 1000,
        "ä",
        "Grüße, " * 300,
        "智子" * 3000,
        "mostly ASCII, one ä " * 50,
        "ä" + "x" * 3000,
        "😀 \u202e rtl שלום\n",
        "vt\x0b ff\x0c nel\x85 ls\u2028 ps\u2029 end\n",
        "equals = sign, =3D, =\n",
        "soft break at the end =\n" + "ä",
        "blank before break" + " " * 100 + "ä\n",
        "-- \nsignature\n",
        "--=_boundary\n--\n",
        "control \x01\x02\x1b[31m",
        "\ufeffBOM",
        "\n" * 50,
        "\t\n \n",
    ],
)
@pytest.mark.parametrize("half", ["body", "html", "both"])
def test_any_text_is_read_as_it_was_written(text: str, half: str) -> None:
    given = {"body": {"body": text}, "html": {"body": None, "html": text}, "both": {"body": text, "html": text}}[half]
    reading = both(**given)
    wanted = re.sub(r"\r\n?", "\n", text)
    wanted = wanted if wanted.endswith("\n") else wanted + "\n"
    for subtype in {"body": ["plain"], "html": ["html"], "both": ["html"] + ["plain"] * bool(text)}[half]:
        assert texts(reading, subtype) == wanted


@pytest.mark.parametrize(
    ("changes", "structure"),
    [
        ({}, ["text/plain"]),
        ({"body": None, "html": "<p>"}, ["text/html"]),
        ({"body": "", "html": "<p>"}, ["text/html"]),
        ({"body": None}, ["text/plain"]),
        ({"body": ""}, ["text/plain"]),
        ({"html": "<p>"}, ["multipart/alternative", "text/plain", "text/html"]),
        ({"html": ""}, ["multipart/alternative", "text/plain", "text/html"]),
        ({"alts": {"x-amp-html": "x"}, "html": "<p>"}, ["multipart/alternative", "text/plain", "text/x-amp-html", "text/html"]),
        ({"attachments": [Attachment("a.pdf", None, b"x")]}, ["multipart/mixed", "text/plain", "application/pdf"]),
        (
            {"html": "<p>", "attachments": [Attachment("a.pdf", None, b"x")]},
            ["multipart/mixed", "multipart/alternative", "text/plain", "text/html", "application/pdf"],
        ),
        (
            {"body": None, "attachments": [Attachment("a.pdf", None, b"x")]},
            ["multipart/mixed", "text/plain", "application/pdf"],
        ),
        (
            {"attachments": [Attachment("a.png", None, b"x", headers={"Content-ID": "<a>"})]},
            ["multipart/mixed", "text/plain", "image/png"],
        ),
    ],
)
def test_the_structure_is_the_simplest_that_holds_what_is_there(changes: dict[str, Any], structure: list[str]) -> None:
    assert both(**changes).structure == structure


def test_an_inline_image_is_related_to_the_html_inside_the_alternative() -> None:
    logo = Attachment("logo.png", "image/png", b"\x89PNG\0", "inline", headers={"Content-ID": "<logo@b.example>"})
    reading = both(html='<img src="cid:logo@b.example">', attachments=[logo, Attachment("a.pdf", None, b"%PDF")])
    assert reading.structure == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "image/png",
        "application/pdf",
    ]
    related = next(part for part in reading.python.walk() if part.get_content_type() == "multipart/related")
    assert related["Content-Type"].params["type"] == "text/html"
    assert [one.content_id for one in reading.rust.attachments] == ["logo@b.example", None]
    assert [one.disposition for one in reading.rust.attachments] == ["inline", "attachment"]
    assert [content for *_, content in reading.attachments] == [b"\x89PNG\0", b"%PDF"]


def test_a_calendar_stands_last_with_its_method() -> None:
    message = make(html="<p>")
    message.alts["calendar; method=REQUEST"] = "BEGIN:VCALENDAR\r\nSUMMARY:Zoë\r\nEND:VCALENDAR\r\n"
    reading = read(write(message).source)
    assert reading.structure == ["multipart/alternative", "text/plain", "text/html", "text/calendar"]
    part = reading.leaves[-1]
    assert dict(part["Content-Type"].params) == {"method": "REQUEST", "charset": "utf-8"}
    assert texts(reading, "calendar") == "BEGIN:VCALENDAR\nSUMMARY:Zoë\nEND:VCALENDAR\n"


@pytest.mark.parametrize(
    "name",
    [
        "a.txt",
        "with blank.txt",
        'quote".txt',
        "back\\slash.txt",
        "semi;colon, comma=.txt",
        "percent%20.txt",
        "it's.txt",
        "tab\t.txt",
        "=?utf-8?q?a?=.txt",
        "x" * 60,
        "x" * 61,
        "x" * 2000,
        "ä.pdf",
        "Zoë 智子.pdf",
        "智" * 200 + ".pdf",
        "😀" * 50,
        "תמונה.png",
        "../../etc/passwd",
        "*'%",
        ".",
    ],
)
def test_any_filename_is_read_as_it_was_written(name: str) -> None:
    assert both(attachments=[Attachment(name, "application/pdf", b"\0\xff")]).attachments == [("application/pdf", name, b"\0\xff")]


@pytest.mark.parametrize("name", ["ä" * 100, "😀" * 250, "x" * 5000 + ".pdf"])
def test_a_long_filename_has_less_than_ten_pieces(name: str) -> None:
    source = write(make(attachments=[Attachment(name, "application/pdf", b"x")])).source
    assert 1 < len(re.findall(rb"filename\*\d+\*=", source)) < 10
    assert b"filename*10*" not in source


def test_blanks_around_a_filename_are_left_out() -> None:
    assert both(attachments=[Attachment(" a b ", "image/png", b"x")]).attachments == [("image/png", "a b", b"x")]


@pytest.mark.parametrize("name", [None, "", "  "])
def test_an_attachment_may_have_no_name(name: str | None) -> None:
    reading = both(attachments=[Attachment(name, "image/png", b"x")])
    assert reading.attachments == [("image/png", "", b"x")]
    assert b"filename" not in reading.source


@pytest.mark.parametrize("data", [b"", b"\0", b"x" * 100_000, bytes(range(256)), bytearray(b"ab"), memoryview(b"cd"), b"\r\n.\r\n"])
def test_any_bytes_are_read_as_they_were_given(data: Any) -> None:
    assert both(attachments=[Attachment("a.bin", "application/x-thing", data)]).attachments[0][2] == bytes(data)


def test_a_string_is_attached_as_utf8_and_keeps_its_other_parameters() -> None:
    attachments = [
        Attachment("a.txt", "text/plain; charset=latin-1", "Grüße, 智子\n"),
        Attachment("a.ics", 'text/calendar; method=REQUEST; name="an invitation"', "BEGIN:VCALENDAR"),
        Attachment("a.csv", None, "ä;ö"),
    ]
    reading = both(attachments=attachments)
    assert [content.decode() for *_, content in reading.attachments] == ["Grüße, 智子\n", "BEGIN:VCALENDAR", "ä;ö"]
    params = [dict(part["Content-Type"].params) for part in reading.python.iter_attachments()]
    assert params == [
        {"charset": "utf-8"},
        {"method": "REQUEST", "name": "an invitation", "charset": "utf-8"},
        {"charset": "utf-8"},
    ]


def test_a_message_that_is_attached_stays_one() -> None:
    inner = write(make(subject="Zoë inside", html="<p>ä", attachments=[Attachment("a.bin", None, b"\0")])).source
    reading = both(attachments=[Attachment("forwarded.eml", "message/rfc822", inner)])
    forwarded = next(part for part in reading.python.walk() if part.get_content_type() == "message/rfc822")
    assert forwarded.get_filename() == "forwarded.eml"
    assert forwarded.get_payload(0)["Subject"] == "Zoë inside"
    assert forwarded["Content-Transfer-Encoding"] == "7bit"
    child = tree(reading.source).children[1]
    assert child.is_message
    assert child.children[0].headers["Subject"] == ["Zoë inside"]


@pytest.mark.parametrize("inner", ["Subject: ä\n\nä".encode(), b"Subject: a\n\n" + b"x" * 2000, b"Subject: a\n\n\0"])
def test_a_message_that_is_not_clean_is_attached_byte_for_byte(inner: bytes) -> None:
    reading = both(attachments=[Attachment("forwarded.eml", "message/rfc822", inner)])
    assert reading.attachments == [("application/octet-stream", "forwarded.eml", inner)]


def test_a_multipart_is_never_attached_as_one() -> None:
    reading = both(attachments=[Attachment("a", "multipart/mixed; boundary=x", b"--x--")])
    assert reading.structure == ["multipart/mixed", "text/plain", "application/octet-stream"]


def test_extra_headers_are_read_as_they_were_written() -> None:
    url = "<https://b.example/unsubscribe?" + "token=abcdefgh&" * 40 + ">"
    extra = {
        "List-Unsubscribe": f"{url}, <mailto:leave@b.example>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        "X-Tag": "Zoë " * 50 + "end",
        "X-Priority": 1,
        "X-Long": "x" * 3000,
        "References": " ".join(f"<{number}@b.example>" for number in range(50)),
        "X-" + "Name" * 17: "ordinary words " * 10 + "end",
    }
    reading = both(extra_headers=extra)
    for name, value in extra.items():
        assert reading.python[name] == str(value)
        assert reading.rust.headers[name] == [str(value)]


def test_what_every_mail_says_of_itself() -> None:
    reading = both(date=1_700_000_000.0)
    usual = "from to subject date message-id auto-submitted mime-version content-type content-transfer-encoding"
    assert reading.names == usual.split()
    assert reading.python["Auto-Submitted"] == "auto-generated"
    assert reading.python["Date"] == "Tue, 14 Nov 2023 22:13:20 +0000"
    assert both(date=0.0).python["Date"] == "Thu, 01 Jan 1970 00:00:00 +0000"
    assert both(extra_headers={"auto-submitted": "no"}).python.get_all("Auto-Submitted") == ["no"]


def test_a_message_id_is_on_the_senders_domain_and_never_the_same() -> None:
    ids = {write(make(sender="Me <me@mail.example>")).message_id for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch(r"<[0-9a-f.]+@mail\.example>", one) for one in ids)
    assert write(make(extra_headers={"message-id": "<own.1@b.example>"})).message_id == "<own.1@b.example>"


def test_ten_megabytes_are_written_right() -> None:
    line = "ten megabytes of text, with an ä here and there\n"
    text = line * (10_000_000 // len(line))
    reading = both(body=text, html="<" + "x" * 10_000_000, attachments=[Attachment("a.bin", None, b"\xff" * 10_000_000)])
    assert texts(reading, "plain") == text
    assert texts(reading, "html") == "<" + "x" * 10_000_000 + "\n"
    assert reading.attachments[0][2] == b"\xff" * 10_000_000


def test_a_thousand_recipients_are_written_right() -> None:
    people = [(f"Number {number} 智子", f"number{number}@b.example") for number in range(1000)]
    written, reading = write_and_read(make(recipients=people))
    assert len(written.recipients) == 1000
    assert reading.people == people


def test_the_server_gets_the_same_bytes(make_app: Callable[..., Flask], smtp: SmtpServer) -> None:
    bodies = ["plain\n", ".\n..\n.dot\n\n.", "x" * 2000, "Grüße " * 100, "trailing \t\nbare\rCR", "\r\n.\r\n", ""]
    sources = []
    with make_app().app_context(), mail.connect() as connection:
        for body in bodies:
            message = make(body=body, html=body or None, date=1.0, extra_headers={"Message-ID": "<a@b.example>"})
            connection.send(message)
            sources.append(write(message).source)
    unique = re.compile(rb"=_[0-9a-f]{32}")
    received = [one.source for one in smtp.wait_for(len(bodies))]
    for source in received:
        check_raw(source)
        assert not message_from_bytes(source, policy=policy.default).defects
    assert [unique.sub(b"", one) for one in received] == [unique.sub(b"", one) for one in sources]
