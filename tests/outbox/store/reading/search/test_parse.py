"""The search line: what each word means, and what is said of one that means nothing."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_outbox import Status
from flask_outbox.store.reading.search import NotUnderstood, parse, quoted
from flask_outbox.store.reading.search.query import NAMES
from tests.servers import ROOT

# A Sunday.
NOW = datetime(2026, 11, 15, 13, 30, tzinfo=UTC)
TODAY = datetime(2026, 11, 15, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def only(*statuses: str) -> frozenset[Status]:
    return frozenset(Status(one) for one in statuses)


@pytest.mark.parametrize(
    ("line", "terms"),
    [
        ("", []),
        ("   ", []),
        ("invoice", [("", "invoice")]),
        ("-invoice", [("", "invoice", True)]),
        ("Invoice 4711", [("", "Invoice"), ("", "4711")]),
        ('"your invoice"', [("", "your invoice")]),
        ('-"your invoice"', [("", "your invoice", True)]),
        ("to:susan@", [("to", "susan@")]),
        ("to:susan@example.com", [("to", "susan@example.com")]),
        ("TO:Susan@Example.com", [("to", "Susan@Example.com")]),
        ("-to:susan", [("to", "susan", True)]),
        ("from:shop@", [("from", "shop@")]),
        ("subject:invoice", [("subject", "invoice")]),
        ('subject:"your invoice"', [("subject", "your invoice")]),
        ('subject:"a" b', [("subject", "a"), ("", "b")]),
        ("subject:a:b", [("subject", "a:b")]),
        ("template:mail/reset", [("template", "mail/reset")]),
        ("-template:mail/reset", [("template", "mail/reset", True)]),
        ("key:sending-7", [("key", "sending-7")]),
        ("request:0af7", [("request", "0af7")]),
        ("reply:full", [("reply", "full")]),
        ('failure:"550 5.1.1 user unknown"', [("failure", "550 5.1.1 user unknown")]),
        ('failure:"550 … <…>"', [("failure", "550 … <…>")]),
        ('failure:"it said \\"no\\""', [("failure", 'it said "no"')]),
        ('failure:"it said "no" twice"', [("failure", 'it said "no'), ("", 'twice"')]),
        ('failure:"user "x": unknown"', [("failure", 'user "x": unknown')]),
        ('failure:"C:\\\\temp"', [("failure", "C:\\temp")]),
        ('failure:"C:\\temp"', [("failure", "C:\\temp")]),
        ("status:failed", [("status", only("failed"))]),
        ("status:FAILED", [("status", only("failed"))]),
        ("Status:Failed", [("status", only("failed"))]),
        ("status:failed,expired", [("status", only("failed", "expired"))]),
        ('status:"failed, expired"', [("status", only("failed", "expired"))]),
        ("-status:sent", [("status", only("sent"), True)]),
        ("-status:sent -status:queued", [("status", only("sent"), True), ("status", only("queued"), True)]),
        ("id:12", [("id", frozenset({12}))]),
        ("id:12,15", [("id", frozenset({12, 15}))]),
        ("-id:12", [("id", frozenset({12}), True)]),
        ("id:9223372036854775807", [("id", frozenset({2**63 - 1}))]),
        ("after:today", [("after", TODAY)]),
        ("after:yesterday", [("after", TODAY - DAY)]),
        ("after:Yesterday", [("after", TODAY - DAY)]),
        ("before:2026-11-01", [("before", datetime(2026, 11, 1, tzinfo=UTC))]),
        ("before:20261101", [("before", datetime(2026, 11, 1, tzinfo=UTC))]),
        ("after:2026-11-01T08:00", [("after", datetime(2026, 11, 1, 8, tzinfo=UTC))]),
        ("after:2026-11-01T08:00Z", [("after", datetime(2026, 11, 1, 8, tzinfo=UTC))]),
        ("after:2026-11-01T08:00+02:00", [("after", datetime(2026, 11, 1, 6, tzinfo=UTC))]),
        ('after:"2026-11-01 08:00"', [("after", datetime(2026, 11, 1, 8, tzinfo=UTC))]),
        ("after:12h", [("after", NOW - 12 * HOUR)]),
        ("after:45m", [("after", NOW - 45 * timedelta(minutes=1))]),
        ("after:2d", [("after", NOW - 2 * DAY)]),
        ("after:3w", [("after", NOW - 21 * DAY)]),
        ('after:"3 days"', [("after", NOW - 3 * DAY)]),
        ('after:"3 days ago"', [("after", NOW - 3 * DAY)]),
        ('before:"1 Hour"', [("before", NOW - HOUR)]),
        ("after:2d before:1d", [("after", NOW - 2 * DAY), ("before", NOW - DAY)]),
        ("12:30", [("", "12:30")]),
        ("a@b.example", [("", "a@b.example")]),
        ("--x", [("", "-x", True)]),
        ('"to:susan"', [("", "to:susan")]),
        ('"-x"', [("", "-x")]),
        ('in"voice', [("", 'in"voice')]),
        ("100%", [("", "100%")]),
        ("<script>alert(1)</script>", [("", "<script>alert(1)</script>")]),
        ("\ttab\nand\xa0line", [("", "tab"), ("", "and"), ("", "line")]),
        (
            'to:susan@ status:failed template:mail/reset after:yesterday "invoice"',
            [
                ("to", "susan@"),
                ("status", only("failed")),
                ("template", "mail/reset"),
                ("after", TODAY - DAY),
                ("", "invoice"),
            ],
        ),
    ],
)
def test_what_each_word_means(line: str, terms: list[tuple[object, ...]]) -> None:
    found = [(term.name, term.value, term.is_negated) for term in parse(line, NOW).terms]
    assert found == [(*term, False)[:3] for term in terms]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("status:sentt", 'There is no status "sentt": use queued, sending, held, sent, failed, expired, cancelled.'),
        ("status:failed,", 'There is no status "": use queued'),
        ("status:failed status:expired", "status: stands twice, and an email has one status: write status:failed,expired"),
        ("id:1 id:2", "id: stands twice, and an email has one id: write id:12,15"),
        ("foo:bar", 'There is no "foo:": use to:, from:, subject:'),
        ("https://example.com", "or put the text in quotes"),
        ("subject:", "There is nothing after subject:"),
        ('subject:""', "There is nothing after subject:"),
        ('subject:" "', "There is nothing after subject:"),
        ("subject: invoice", "There is nothing after subject:"),
        ("-", 'There is nothing after the "-"'),
        ('""', "There is nothing in the quotes"),
        ('"your invoice', 'A quotation mark is never closed after "your invoice: write text with spaces as "your invoice".'),
        ('subject:"', "A quotation mark is never closed"),
        ("id:x", '"x" is no id: write a number such as id:12'),
        ("id:-1", '"-1" is no id'),
        ("id:1.5", '"1.5" is no id'),
        ("id:٣", "is no id"),
        ("id:9223372036854775808", "up to 9223372036854775807"),
        ("id:99999999999999999999", "is no id"),
        ("after:tomorow", '"tomorow" is no time: write today, yesterday, a date such as 2026-11-01'),
        ("after:2026-13-01", '"2026-13-01" is no time'),
        ("after:0001-01-01", "is no time at which an email was sent"),
        ("after:9999-12-31", "is no time at which an email was sent"),
        ("after:999999w", '"999999w" is no time'),
        ("after:0001-01-01T00:00+14:00", "is no time"),
        ("-after:today", "-after: is not possible: write before:today."),
        ("-before:today", "-before: is not possible: write after:today."),
        ("a\0b", "NUL"),
        ("x" * 2001, "too long: write 2,000 characters at most"),
        ("x " * 21, "too many words: write 20 at most"),
        ('"' + "\\" * 1900, "never closed"),
        ('"' + '"a' * 900, "never closed"),
    ],
)
def test_a_wrong_word_is_explained(line: str, said: str) -> None:
    with pytest.raises(NotUnderstood) as info:
        parse(line, NOW)
    assert said in str(info.value)
    assert str(info.value).endswith(".")


def test_today_begins_at_midnight_in_utc_wherever_now_is_read() -> None:
    tokyo = datetime(2026, 11, 16, 8, 30, tzinfo=timezone(9 * HOUR))
    assert parse("after:today", tokyo).terms[0].value == TODAY


@given(
    st.text(min_size=1, max_size=100).filter(lambda text: text.strip() and "\0" not in text),
    st.sampled_from(["", "failure:", "-key:"]),
)
def test_what_is_quoted_is_found_as_it_is(text: str, name: str) -> None:
    (term,) = parse(name + quoted(text), NOW).terms
    assert term.value == text


@given(st.lists(st.sampled_from([*'abc "\\:-,', *NAMES]), max_size=60))
def test_every_line_is_understood_or_explained(parts: list[str]) -> None:
    with suppress(NotUnderstood):
        parse("".join(parts), NOW)


def test_every_example_of_the_help_and_the_documentation_is_understood() -> None:
    page = (ROOT / "flask_outbox/desk/templates/mail_desk/outbox.html").read_text()
    text = (ROOT / "docs/guides/search.md").read_text()
    examples = re.findall(r"<code>([^<…]+:[^<…]+|-[^<]+)</code>", page) + re.findall(r"`(-?\w+:[^`…]+)`", text)
    assert len(examples) > 30
    for example in examples:
        if not example.endswith(":"):
            parse(example.replace("\n", " "), NOW)
