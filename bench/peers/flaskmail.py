"""Flask-Mail as its documentation has it: in the request, in a thread for each mail, or over one kept connection."""

from __future__ import annotations

import argparse
import os
import threading

from flask import Flask
from flask_mail import Connection, Mail, Message

from bench import letter

app = Flask(__name__)
app.config.from_mapping(
    MAIL_SERVER=os.environ["MAIL_SERVER"], MAIL_PORT=int(os.environ["MAIL_PORT"]), MAIL_DEFAULT_SENDER=letter.SENDER
)
mail = Mail(app)
kept = threading.local()


def send(recipient: str, subject: str, text: str, html: str) -> None:
    """Send over a connection of its own: ``mail.send``."""
    with app.app_context():
        mail.send(Message(subject, [recipient], text, html))


def send_kept(recipient: str, subject: str, text: str, html: str) -> None:
    """Send over a connection that this thread keeps: ``mail.connect``, which a queue's worker need not close."""
    with app.app_context():
        if not hasattr(kept, "connection"):
            kept.connection = mail.connect().__enter__()
        connection: Connection = kept.connection
        connection.send(Message(subject, [recipient], text, html))


def send_each(jobs: list[tuple[str, str, str, str]]) -> None:
    """Send in the request, one after the other."""
    for job in jobs:
        send(*job)


def send_threads(jobs: list[tuple[str, str, str, str]]) -> None:
    """Start a thread for each mail, as Grinberg's ``send_async_email`` does."""
    threads = [threading.Thread(target=send, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def send_connected(jobs: list[tuple[str, str, str, str]]) -> None:
    """Send all inside one ``with mail.connect()``."""
    with app.app_context(), mail.connect() as connection:
        for recipient, subject, text, html in jobs:
            connection.send(Message(subject, [recipient], text, html))


def build(number: int) -> bytes:
    """Return one letter as bytes, rendered too."""
    recipient, subject, text, html = letter.arguments(number)
    with app.app_context():
        return bytes(Message(subject, [recipient], text, html, sender=letter.SENDER).as_bytes())


WAYS = {"each": send_each, "threads": send_threads, "connected": send_connected}


def main() -> None:
    """Send so many letters in one of the ways."""
    parser = argparse.ArgumentParser(description="Send letters with Flask-Mail.")
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("first", type=int)
    parser.add_argument("count", type=int)
    arguments = parser.parse_args()
    numbers = range(arguments.first, arguments.first + arguments.count)
    WAYS[arguments.way]([letter.arguments(number) for number in numbers])


if __name__ == "__main__":
    main()
