"""A large sending stores each recipient once, whatever else stores her at the same moment."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_outbox import BULK, URGENT, Email, InvalidMessage, Message, enqueue
from flask_outbox.bulk import sending
from flask_outbox.bulk.merge import MailMerge
from flask_outbox.bulk.recipients import Line
from flask_outbox.bulk.sending import Sending, default_key
from flask_outbox.store.models import Content
from flask_outbox.store.outbox import Outbox
from flasky.extensions import db
from tests.lettered import with_letter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flask import Flask

    from flask_outbox.testing import SmtpServer

pytestmark = pytest.mark.usefixtures("quiet")


def people(*numbers: int) -> list[Line]:
    return [
        Line(f"line {number}", {"email": f"{number}@example.com", "name": f"Zoë {number}", "number": "1"}) for number in numbers
    ]


@pytest.fixture
def make(quiet: Flask) -> Callable[..., Sending]:
    """A function that makes a sending; its keywords are those of Sending."""
    with_letter(quiet)

    def one(subject: str = "Hello {{ name }} & co", **options: Any) -> Sending:
        return Sending(db.engine, MailMerge(subject, "mail/letter"), options.pop("key", "a sending"), **options)

    return one


def run(one: Sending, lines: Iterable[Line]) -> tuple[int, int, int]:
    for _ in one.run(lines):
        pass
    return one.tally.stored, one.tally.skipped, one.tally.invalid


def rows() -> list[Email]:
    db.session.expire_all()
    return list(db.session.scalars(sa.select(Email).order_by(Email.id)).unique())


def test_a_row_of_a_sending_is_the_row_that_enqueue_makes(make: Callable[..., Sending], quiet: Flask) -> None:
    assert run(make(), people(1, 2)) == (2, 0, 0)
    merge = MailMerge("Hello {{ name }} & co", "mail/letter")
    enqueue(merge.compose("1@example.com", people(1)[0].values), priority=BULK, key="another")
    first, second, other = rows()
    assert (first.recipient, second.recipient) == ("1@example.com", "2@example.com")
    assert first.message_id != second.message_id
    assert first.content.source is not None
    assert f"Message-ID: {first.message_id}\r\n".encode() in first.content.source
    assert b"\r\nTo: 1@example.com\r\n" in first.content.source
    for name in ("status", "priority", "expires_at", "tries", "recipient", "reply", "finished_at", "lease"):
        assert getattr(first, name) == getattr(other, name), name
    for name in ("sender", "subject", "secret", "size"):
        assert getattr(first.content, name) == getattr(other.content, name), name
    assert first.created_at == first.send_at == first.due_since
    assert first.key == "a sending"


def test_each_gets_the_message_that_was_written_for_her(make: Callable[..., Sending], deliver: Any, smtp: SmtpServer) -> None:
    assert run(make(), people(*range(450))) == (450, 0, 0)
    deliver()
    assert len(smtp.accepted) == len({one.message_id for one in smtp.accepted}) == 450
    for one in smtp.accepted:
        number = one.recipient.partition("@")[0]
        assert one.message["To"] == one.recipient
        assert one.message["Subject"] == f"[Flasky] Hello Zoë {number} & co"
        assert f"Dear Zoë {number}," in one.message.get_body(("plain",)).get_content()


def test_nobody_gets_it_twice_under_one_key(make: Callable[..., Sending]) -> None:
    assert run(make(), people(1, 2, 1)) == (2, 1, 0)
    assert run(make(), people(2, 3, 1)) == (1, 2, 0)
    assert run(make(key="another"), people(1)) == (1, 0, 0)
    assert sorted(one.recipient for one in rows()) == ["1@example.com", "1@example.com", "2@example.com", "3@example.com"]


def test_the_same_address_in_another_chunk_or_spelling_is_the_same(
    make: Callable[..., Sending], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "CHUNK", 2)
    other = [replace(one, values=one.values | {"email": f" Zoë <{index}@EXAMPLE.com> "}) for index, one in enumerate(people(1, 2))]
    assert run(make(), [*people(1, 2, 3), *other, *people(1)]) == (4, 2, 0)


def test_two_sendings_of_one_key_at_once_store_each_once(make: Callable[..., Sending], monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = make(), make()
    insert = one._insert

    def late(messages: Any) -> None:
        # Both have looked, and found nobody.
        monkeypatch.setattr(one, "_insert", insert)
        run(other, people(2, 4))
        insert(messages)

    monkeypatch.setattr(one, "_insert", late)
    assert run(one, people(1, 2, 3)) == (2, 1, 0)
    assert other.tally.stored == 2
    assert sorted(email.recipient for email in rows()) == [f"{number}@example.com" for number in (1, 2, 3, 4)]
    # What was rolled back has left no message behind.
    assert db.session.scalar(sa.select(sa.func.count(Content.id))) == 4


def test_an_error_that_is_nobodys_key_is_not_hidden(make: Callable[..., Sending], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "content_values", lambda message, origin: {"message_id": None})
    with pytest.raises(sa.exc.IntegrityError):
        run(make(), people(1))


def test_every_chunk_is_committed_before_the_next_is_read(make: Callable[..., Sending], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "CHUNK", 3)
    lines = iter(people(*range(8)))
    seen = [(tally.stored, len(rows()), next(lines, Line("", {})).where) for tally in make().run(lines)]
    assert seen == [(3, 3, "line 3"), (6, 6, "line 7")]


def test_a_chunk_of_large_messages_goes_in_several_transactions(
    make: Callable[..., Sending], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, sizes = make(), []
    insert = one._insert
    monkeypatch.setattr(one, "_insert", lambda messages: (sizes.append(len(messages)), insert(messages)))
    monkeypatch.setattr(sending, "CHUNK_BYTES", 3_000)
    assert run(one, people(*range(50))) == (50, 0, 0)
    assert sizes[:10] == [5] * 10
    assert len(rows()) == 50


def test_invalid_lines_are_reported_and_skipped_and_the_rest_is_stored(make: Callable[..., Sending]) -> None:
    bad = [
        Line("line 7", {}, "it has 1 fields"),
        Line("line 8", {"email": "nobody", "name": "x", "number": "1"}),
        Line("line 9", {"email": "9@example.com", "name": "two\nlines", "number": "1"}),
    ]
    one = make()
    assert run(one, [bad[0], bad[1], *people(1), *bad, *people(2)]) == (2, 0, 5)
    assert one.tally.complaints[0] == "line 7: it has 1 fields"
    assert one.tally.complaints[1].startswith("line 8: recipient 'nobody' is not an email address")
    assert one.tally.complaints[4].startswith("line 9: the header Subject holds a line break")
    run(one, [Line("line 10", {}, "bad")] * 100)
    assert (one.tally.invalid, len(one.tally.complaints)) == (105, 20)


@pytest.mark.parametrize("subject", ["Hello {{ nam }}", "{{ number / 2 }}", r"{{ name }}{{ '\n' }}", "{% include 'gone' %}"])
def test_where_the_first_mail_cannot_be_made_nothing_is_stored(make: Callable[..., Sending], subject: str) -> None:
    with pytest.raises(InvalidMessage, match=r"nothing was stored, because the first email \(line 1\) cannot be rendered: the "):
        run(make(subject), [Line("line 0", {}, "bad"), *people(1, 2)])
    assert rows() == []


@pytest.mark.parametrize(
    ("subject", "template", "words"),
    [
        ("Hello {{ name", "mail/letter", "the subject is broken in line 1"),
        ("{% fi %}", "mail/letter", "the subject is broken in line 1"),
        ("Hello\nBcc: eve@evil.example", "mail/letter", "the subject holds a line break"),
        ("\udcff", "mail/letter", "the subject holds a character"),
        ("Hello", "mail/gone", "the template mail/gone.txt is missing"),
    ],
)
def test_a_broken_merge_is_reported_before_anything_is_read(
    make: Callable[..., Sending], subject: str, template: str, words: str
) -> None:
    with pytest.raises(InvalidMessage, match=words):
        MailMerge(subject, template)


@pytest.mark.parametrize("options", [{"key": "a\nb"}, {"key": "x" * 201}, {"priority": 40_000}])
def test_unusable_options_are_refused_at_once(make: Callable[..., Sending], options: dict[str, Any]) -> None:
    with pytest.raises(InvalidMessage):
        make(**options)


def test_a_dry_run_makes_everything_and_stores_nothing(make: Callable[..., Sending]) -> None:
    run(make(), people(1))
    dry = make(dry_run=True)
    assert run(dry, [*people(1, 2, 3), Line("line 9", people(9)[0].values | {"name": "two\nlines"})]) == (2, 1, 1)
    assert dry.first is not None
    assert dry.first.subject == "[Flasky] Hello Zoë 1 & co"
    assert len(rows()) == 1


def test_a_dry_run_counts_whoever_is_in_two_chunks_once(make: Callable[..., Sending], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "CHUNK", 2)
    dry = make(dry_run=True)
    assert run(dry, people(1, 2, 1, 3, 2)) == run(make(), people(1, 2, 1, 3, 2)) == (3, 2, 0)


def test_the_default_key_goes_by_template_and_subject() -> None:
    keys = [default_key("mail/a", "x"), default_key("mail/a", "y"), default_key("mail/b", "x"), default_key("m" * 300, "x")]
    assert len(set(keys)) == 4
    assert keys[0] == default_key("mail/a", "x")
    assert keys[0].startswith("send-many:mail/a:")
    assert max(map(len, keys)) < 200


def test_urgent_mail_is_claimed_before_a_sending_that_was_there_first(make: Callable[..., Sending]) -> None:
    run(make(), people(*range(100)))
    (urgent,) = enqueue(Message("hi", ["u@example.com"], "text", sender="a@example.com"), priority=URGENT)
    outbox = Outbox(db.engine, "a worker")
    batch = outbox.claim()
    assert batch is not None
    assert next(iter(batch.open)) == urgent.id
    outbox.close()
