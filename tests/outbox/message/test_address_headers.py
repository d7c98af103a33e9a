"""Headers that hold addresses are written as addresses, whichever they are; and those that no message may hold are refused."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.utils import getaddresses
from typing import Any

import flask_mail
import pytest

from flask_outbox.errors import InvalidMessage
from flask_outbox.message.address import parse_list
from flask_outbox.message.writer import write
from tests.outbox.readers import check_raw

pytestmark = pytest.mark.usefixtures("flask_mail_context")

NAMES = [
    "Sender",
    "Errors-To",
    "Return-Receipt-To",
    "Disposition-Notification-To",
    "X-Confirm-Reading-To",
    "Mail-Followup-To",
    "Resent-From",
    "Resent-To",
    "resent-cc",
    "RESENT-SENDER",
]


def header(name: str, value: Any) -> str:
    """Return the header *name* of a message with it, encoded as it is sent, on one line."""
    message = flask_mail.Message("Hi", ["a@b.example"], "text", sender="me@b.example", extra_headers={name: value})
    source = write(message).source
    check_raw(source)
    return str(message_from_bytes(source, policy=policy.compat32)[name]).replace("\r\n", "")


@pytest.mark.parametrize("name", NAMES)
def test_the_name_is_encoded_and_the_address_is_not(name: str) -> None:
    value = header(name, "Zoë 智子 <zoe@bücher.example>")
    assert value == "=?utf-8?b?Wm/DqyDmmbrlrZA=?= <zoe@xn--bcher-kva.example>"


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"Sender", "RESENT-SENDER"}))
def test_several_addresses_are_several(name: str) -> None:
    value = header(name, '"Doe, John" <j@b.example>, z@b.example')
    assert getaddresses([value]) == [("Doe, John", "j@b.example"), ("", "z@b.example")]


@pytest.mark.parametrize("name", ["Sender", "Resent-Sender"])
def test_a_sender_is_one(name: str) -> None:
    with pytest.raises(InvalidMessage, match=f"the header {name} holds 2 addresses: give it one"):
        header(name, "a@b.example, c@b.example")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("nobody", "is not an email address"),
        ("", "holds 0 addresses: give it one"),
        (" , ", "holds 0 addresses"),
        ("a@b.example\r\nBcc: eve@evil.example", "a line break"),
        ("a@b.example\n c@b.example", "a line break"),
    ],
)
def test_what_is_no_address_is_refused(name: str, value: str, said: str) -> None:
    with pytest.raises(InvalidMessage, match=f"the header {name} .*{said}"):
        header(name, value)


def test_many_long_addresses_are_folded() -> None:
    people = [f"Number {number} of a long list <number{number}@b.example>" for number in range(60)]
    assert header("Mail-Followup-To", ", ".join(people)) == ", ".join(people)


def test_a_folded_list_is_unfolded() -> None:
    assert header("Resent-To", "a@b.example,\r\n c@b.example") == "a@b.example, c@b.example"
    assert header("References", "<a@b.example>\r\n\t<c@b.example>") == "<a@b.example> <c@b.example>"
    assert header("X-Tag", "one\r\n two") == "one two"


@pytest.mark.parametrize(
    ("value", "envelopes"),
    [
        ("a@b.example", ["a@b.example"]),
        ("<a@b.example>,, <c@b.example> ,", ["a@b.example", "c@b.example"]),
        ('"a \\" , b" <a@b.example>,"x@y.example, z" <c@b.example>', ["a@b.example", "c@b.example"]),
        ("", []),
    ],
)
def test_a_comma_in_quotes_belongs_to_the_name(value: str, envelopes: list[str]) -> None:
    assert [address.envelope for address in parse_list(value, "it")] == envelopes


def test_the_return_path_is_the_receiving_server_s() -> None:
    with pytest.raises(InvalidMessage, match="Return-Path, which the recipient's server writes: hand envelope_from to enqueue"):
        header("return-path", "<bounces@b.example>")


def test_no_header_discloses_a_bcc() -> None:
    with pytest.raises(InvalidMessage, match=r"extra_headers holds resent-bcc: .*no header ever holds a Bcc"):
        header("Resent-Bcc", "a@b.example")
