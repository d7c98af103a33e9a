"""One address is parsed, or refused, and written into a header."""

from __future__ import annotations

from typing import Any

import email_validator
import pytest

from flask_outbox.errors import InvalidMessage
from flask_outbox.message.address import parse


@pytest.mark.parametrize(
    ("value", "name", "envelope"),
    [
        ("a@b.example", "", "a@b.example"),
        ("  a@b.example ", "", "a@b.example"),
        ("<a@b.example>", "", "a@b.example"),
        ("Susan <a@b.example>", "Susan", "a@b.example"),
        ("Doe, John <a@b.example>", "Doe, John", "a@b.example"),
        ('"Doe, John" <a@b.example>', "Doe, John", "a@b.example"),
        ('"A \\"B\\" \\\\C" <a@b.example>', 'A "B" \\C', "a@b.example"),
        ('"<a@b.example>" <a@b.example>', "<a@b.example>", "a@b.example"),
        ("a@b.example <a@b.example>", "a@b.example", "a@b.example"),
        (("Doe, John", "a@b.example"), "Doe, John", "a@b.example"),
        (("", "a@b.example"), "", "a@b.example"),
        (("  Zoë 智子 ", " a@b.example "), "Zoë 智子", "a@b.example"),
        (('"', "a@b.example"), '"', "a@b.example"),
        ("a@faß.de", "", "a@xn--fa-hia.de"),
        ("a@BÜCHER.Example", "", "a@xn--bcher-kva.example"),
        ("First.Last+tag@B.example", "", "First.Last+tag@b.example"),
        ("zoë@b.example", "", "zoë@b.example"),
        ("a@intranet", "", "a@intranet"),
        (f"reply+{'A' * 80}@b.example", "", f"reply+{'A' * 80}@b.example"),
    ],
)
def test_it_reads_an_address_with_and_without_a_name(value: Any, name: str, envelope: str) -> None:
    one = parse(value, "recipient")
    assert (one.name, one.envelope) == (name, envelope)


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "nobody",
        "@b.example",
        "a@",
        "a@@b.example",
        "a b@c.example",
        "a@b.example, c@b.example",
        "A <a@b.example>, C <c@b.example>",
        "a@b.example; c@b.example",
        "a@b.example <>",
        "A <<a@b.example>>",
        "A <c@b.example> <a@b.example>",
        "<a@b.example",
        "a@b.example>",
        "a..b@c.example",
        ".a@b.example",
        "a@b..example",
        "a@-b.example",
        "a@[127.0.0.1]",
        '"a b"@c.example',
        "a@b.example\n",
        "\na@b.example",
        "a@b\0.example",
        "a@\ud800.example",
        f"{'a' * 250}@b.example",
        "a@.local",
        "a@b..local",
        "a@local.",
        "localhost",
        f"a@{'b' * 64}.example",
        f"a@{'b.' * 200}example",
        "a" * 10_000_000,
        f"a@{'b' * 10_000_000}",
        None,
        5,
        b"a@b.example",
        ["A", "a@b.example"],
        ("A",),
        ("A", None),
        (None, "a@b.example"),
        ("A", "a@b.example", ""),
        ("A\n", "a@b.example"),
        ("A", "B <a@b.example>"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_anything_else_is_refused_in_a_short_sentence_that_names_the_culprit(value: Any) -> None:
    with pytest.raises(InvalidMessage, match="reply_to") as error:
        parse(value, "reply_to")
    assert len(str(error.value)) < 400
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("value", "envelope"),
    [
        ("root@localhost", "root@localhost"),
        ("scanner@Printer.LOCAL", "scanner@printer.local"),
        ("a@b.test", "a@b.test"),
        ("a@faß.test", "a@xn--fa-hia.test"),
        ("a@b.invalid", "a@b.invalid"),
        ("a@box", "a@box"),
        ("a@local.example", "a@local.example"),
        ("a@notlocal", "a@notlocal"),
    ],
)
def test_whether_a_private_domain_takes_mail_is_for_the_server_to_say(value: str, envelope: str) -> None:
    names = list(email_validator.SPECIAL_USE_DOMAIN_NAMES)
    assert parse(value, "recipient").envelope == envelope
    assert names == email_validator.SPECIAL_USE_DOMAIN_NAMES, "other users of email-validator are not to notice"


def test_an_address_that_was_parsed_is_not_parsed_again() -> None:
    one = parse("Susan <a@b.example>", "recipient")
    assert parse(one, "recipient") is one


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("", "a@b.example"),
        ("Susan B", "Susan B <a@b.example>"),
        ("Susan  B", '"Susan  B" <a@b.example>'),
        ("Doe, J.", '"Doe, J." <a@b.example>'),
        ('"\\', '"\\"\\\\" <a@b.example>'),
        ("ä", "=?utf-8?b?w6Q=?= <a@b.example>"),
        ("x" * 60, f"{'x' * 60}\r\n <a@b.example>"),
    ],
)
def test_a_name_is_quoted_or_encoded_only_where_it_must_be(name: str, written: str) -> None:
    assert parse((name, "a@b.example"), "recipient").header("To") == written
