"""The limit of the standard library: prebuilt messages over one kept connection, ``sendmail`` after ``sendmail``."""

from __future__ import annotations

import os
import smtplib
import sys
from email.message import EmailMessage

from bench import letter


def build(number: int) -> bytes:
    """Return letter *number* as bytes, as the standard library writes it."""
    text, html = letter.render(number)
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = letter.subject(number), letter.SENDER, letter.recipient(number)
    message.set_content(text)
    message.add_alternative(html, subtype="html")
    return message.as_bytes()


def main(first: int, count: int) -> None:
    """Build all, then send all."""
    # Written once: only sending is measured, and 5,000 of them would take longer to write than to send.
    model, mark = build(0), b"%07d" % 0
    built = [(letter.recipient(number), model.replace(mark, b"%07d" % number)) for number in range(first, first + count)]
    with smtplib.SMTP(os.environ["MAIL_SERVER"], int(os.environ["MAIL_PORT"])) as server:
        for recipient, source in built:
            server.sendmail(letter.SENDER, recipient, source)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
