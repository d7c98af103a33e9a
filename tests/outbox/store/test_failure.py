"""Alike failures are described in the same words, whatever addresses, numbers and ids the server has put into its reply."""

import pytest

from flask_outbox.store.failure import describe_failure


@pytest.mark.parametrize(
    ("replies", "described"),
    [
        (
            [
                "550 5.1.1 <susan@example.com>: Recipient address rejected: User unknown",
                "550 5.1.1 <b.o'neil+x@example.org>: Recipient address rejected: User unknown",
            ],
            "550 5.1.1 …: Recipient address rejected: User unknown",
        ),
        (
            [
                "554 5.7.1 Unavailable; client [192.0.2.7] blocked",
                "554 5.7.1 Unavailable; client [203.0.113.9] blocked",
            ],
            "554 5.7.1 Unavailable; client … blocked",
        ),
        (
            ["552-5.3.4 size 3145728 exceeds\r\n552 5.3.4 the limit of 1048576 bytes"],
            "552 5.3.4 size … exceeds … … the limit of … bytes",
        ),
        (["550 see https://support.example.com/mail/?p=NoSuchUser a640c23a62f3a-b1.2 - gsmtp"], "550 see … … - gsmtp"),
        (["the address has no domain"], "the address has no domain"),
        (["550"], "550"),
        ([""], ""),
        (["550  5.1.1   two\nlines"], "550 5.1.1 two lines"),
        (["55012 is no code"], "… is no code"),
    ],
)
def test_alike_failures_share_their_words(replies: list[str], described: str) -> None:
    assert {describe_failure(reply) for reply in replies} == {described}


def test_a_long_reply_is_cut() -> None:
    assert len(describe_failure("550 " + "word " * 100)) == 200
