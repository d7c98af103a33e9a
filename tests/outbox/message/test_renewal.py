"""A message that is sent again keeps its body byte for byte, and gets a Message-ID and a Date of its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from flask_outbox import Message
from flask_outbox.message.renewal import renew
from flask_outbox.message.writer import MESSAGE_ID, write
from tests.outbox.readers import check_raw, read

LONG = "A subject that is folded because it is longer than a line may be, and then some more words"


def letter(subject: str = LONG) -> bytes:
    message = Message(subject, ["Zoë <zoe@example.com>"], "Tschüß", "<p>Tschüß</p>", sender="a@example.com", date=0)
    message.extra_headers = {"List-Unsubscribe": "<https://example.com/u>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
    message.attach("x.bin", "application/octet-stream", bytes(range(256)))
    return write(message).source


def test_it_is_the_same_message_with_a_new_id_and_date() -> None:
    old = read(letter())
    renewed = renew(old.source, "a@example.com")
    new = read(renewed.source)
    assert new.source.partition(b"\r\n\r\n")[2] == old.source.partition(b"\r\n\r\n")[2]
    assert new.python["Message-ID"] == renewed.message_id != old.python["Message-ID"]
    assert MESSAGE_ID.fullmatch(renewed.message_id)
    assert datetime.now(UTC) - new.python["Date"].datetime < timedelta(minutes=1)
    assert sorted(new.names) == sorted(old.names)
    for name in ("Subject", "To", "From", "List-Unsubscribe", "Content-Type"):
        assert new.python[name] == old.python[name]


@pytest.mark.parametrize("subject", ["short", "Grüße", LONG])
def test_a_copy_has_its_own_subject_and_unsubscribes_nobody(subject: str) -> None:
    renewed = renew(letter(subject), "a@example.com", subject=f"[copy] {subject}")
    copy = read(renewed.source)
    assert copy.python["Subject"] == f"[copy] {subject}"
    assert "list-unsubscribe" not in copy.names
    assert "list-unsubscribe-post" not in copy.names
    assert copy.names.count("subject") == 1


@pytest.mark.parametrize("source", [b"", b"Subject: x", b"Subject: x\r\n\r\n", b"\r\nbody only\r\n", b"no header\r\n\r\nbody\r\n"])
def test_odd_messages_are_renewed_too(source: bytes) -> None:
    renewed = renew(source, "a@example.com")
    head = renewed.source.partition(b"\r\n\r\n")[0]
    assert head.count(b"Message-ID: <") == 1


def test_a_renewed_message_is_as_clean_as_the_old_one() -> None:
    check_raw(renew(letter(), "a@example.com", subject="Zoë " * 40).source)
