"""A signature verifies after a trip through a real Postfix, from every corner of what a message may hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_mail import Attachment

from flask_outbox import Message, enqueue
from flask_outbox.message.dkim.record import generate_key, private_line
from flasky.mail import mail
from tests.e2e.checkout import give_up
from tests.e2e.postfix import Postfix, why_not
from tests.outbox.verifiers import records_of, verified

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

KEYS = [generate_key("mail", "example.com", "rsa"), generate_key("ed", "example.com", "ed25519")]
BODY = "\n".join(["From me", ".", "..", "", "a  b\t", "x" * 3000, "Zoë 智子", ".\n\n\n"])


def messages() -> list[Message]:
    to = ["susan@example.com"]
    return [
        Message("Hi", to, "text"),
        Message("Hi", to, BODY),
        Message("Hi", to, BODY.encode("ascii", "ignore").decode(), html="<p>." + BODY),
        Message("Grüße " * 40, [(f"Zoë {number} 智子", f"a{number}@example.com") for number in range(30)], ""),
        Message("a fold, and another " * 20, to, "", sender=("Me, myself & Ich", "me@example.com")),
        Message("SMTPUTF8", ["zoë@example.com"], "ä", sender="mé@example.com"),
        Message("8 bits", to, "ä" * 100, attachments=[Attachment("ä.bin", "application/octet-stream", bytes(range(256)) * 9)]),
        Message("A list", to, "x", extra_headers={"List-Unsubscribe": f"<https://example.com/{'x' * 200}>", "X-Tag": "ö" * 99}),
    ]


def test_a_signature_survives_postfix(make_app: Callable[..., Flask]) -> None:
    reason = why_not()
    if reason:
        give_up(reason)
    setting = ",".join(f"{key.selector}:{key.domain}:{private_line(key)}" for key in KEYS)
    with Postfix() as postfix:
        app = make_app(mail_port=postfix.port, mail_dkim_keys=setting, flasky_mail_dispatch="manual")
        with app.app_context():
            sent = sum(len(enqueue(message)) for message in messages())
            mail.deliver()
        postfix.wait_for(sent)
        for path in postfix.inbox.iterdir():
            # A maildir has the line ends of Unix.
            arrived = path.read_bytes().replace(b"\n", b"\r\n")
            assert arrived.startswith(b"Return-Path: ")
            assert verified(arrived, records_of(KEYS)) == ["mail", "ed"], arrived.decode()
