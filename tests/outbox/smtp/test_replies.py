"""Whose matter is a refusal? The rules give the right answer to every reply in replies.tsv."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from flask_outbox.errors import Refused, Unavailable
from flask_outbox.smtp.envelope import Reply
from flask_outbox.smtp.matters import Matter, matter_of
from flask_outbox.smtp.replies import DOT, LONGEST_REPLY, asks_to_slow_down, is_about_content, is_unclear, verdict


class Said(NamedTuple):
    """One line of replies.tsv."""

    part: str
    stage: str
    whose: str
    reply: str
    server: str
    source: str
    date: str

    @property
    def matter(self) -> Matter:
        code, _, text = self.reply.partition(" ")
        return matter_of(self.stage, int(code), text)


def collection() -> list[Said]:
    with (Path(__file__).parent / "replies.tsv").open(encoding="utf-8") as lines:
        rows = csv.reader((line for line in lines if not line.startswith("#")), delimiter="\t", quoting=csv.QUOTE_NONE)
        return [Said(*row) for row in rows]


COLLECTION = collection()


@pytest.mark.parametrize("said", COLLECTION, ids=lambda said: f"{said.stage} {said.reply[:40]}")
def test_the_rules_know_whose_matter_a_reply_is(said: Said) -> None:
    assert said.matter is Matter(said.whose)


def test_the_collection_has_replies_of_all_kinds_and_each_says_where_it_was_found() -> None:
    assert len(COLLECTION) > 150
    assert {said.whose for said in COLLECTION} == {matter.value for matter in Matter}
    assert all(said.server and said.source and said.date for said in COLLECTION)


@pytest.mark.parametrize(
    ("said", "slow", "content", "unclear"),
    [
        ("454 Throttling failure: Maximum sending rate exceeded.", True, False, None),
        ("421 4.7.28 Gmail has detected an unusual rate of mail", True, False, None),
        ("432 4.3.2 Concurrent connections limit exceeded", True, False, None),
        ("450 4.2.1 The user you are trying to contact is receiving mail too quickly", False, False, None),
        ("454 Throttling failure: Daily message quota exceeded.", False, False, None),
        ("451 4.3.0 later", False, False, None),
        ("554 5.6.0 spam", False, True, True),
        ("552 5.7.0 illegal attachment", False, True, True),
        ("554 5.7.1 refused by policy", False, False, True),
        ("552 5.3.4 too big", False, False, False),
        ("550 5.1.1 no such user", False, False, False),
    ],
)
def test_an_error_can_be_asked_what_the_server_wants(said: str, slow: bool, content: bool, unclear: bool | None) -> None:
    code, _, text = said.partition(" ")
    error = verdict(DOT, Reply(int(code), text))
    assert asks_to_slow_down(error) is slow
    if isinstance(error, Refused):
        assert is_about_content(error) is content
        assert is_unclear(error) is unclear
    else:
        assert unclear is None


def test_a_refusal_of_our_own_is_neither_unclear_nor_about_content() -> None:
    for error in (Refused("5.3.4 the message has 30000 bytes"), Refused("5.6.7 the address has letters beyond ASCII")):
        assert not is_unclear(error)
        assert not is_about_content(error)
        assert not asks_to_slow_down(error)


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA", DOT])
@pytest.mark.parametrize(
    "said", ["550 5.4.5 Daily user sending limit exceeded", "454 Throttling failure: Daily message quota exceeded"]
)
def test_a_limit_is_ours_at_every_stage(stage: str, said: str) -> None:
    code, _, text = said.partition(" ")
    error = verdict(stage, Reply(int(code), text))
    assert isinstance(error, Unavailable)
    assert error.ours


def test_before_a_recipient_is_named_a_refusal_means_us_unless_the_message_is_too_large() -> None:
    for said in ("5.1.1 sender unknown", "5.7.1 no", "no"):
        assert isinstance(verdict("MAIL", Reply(550, said)), Unavailable)
    assert isinstance(verdict("MAIL", Reply(552, "too big")), Refused)


@pytest.mark.parametrize(
    ("said", "whose"),
    [
        ("550 no such user <relay@login.example>", Matter.RECIPIENT),
        ("550 helo@blacklist.example: no such user", Matter.RECIPIENT),
        ("451 4.4.1 no answer from relay.example.com", Matter.MOMENT),
        ("451 4.4.1 no answer from helo.blacklist.example.com, try later", Matter.MOMENT),
    ],
)
def test_what_a_reply_repeats_of_the_email_and_the_names_of_hosts_do_not_count(said: str, whose: Matter) -> None:
    code, _, text = said.partition(" ")
    assert matter_of("RCPT", int(code), text) is whose


def test_a_reply_of_any_length_is_judged_at_once() -> None:
    for word in ("sender ", "user ", "a" * 50 + " ", "limit reached ", "1.1.1.", "to this "):
        began = time.monotonic()
        matter_of("RCPT", 550, word * (LONGEST_REPLY // len(word)))
        assert time.monotonic() - began < 1
