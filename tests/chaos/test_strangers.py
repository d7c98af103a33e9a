"""2,000 emails, plain and strange, into mail servers that others wrote: nothing lost, nothing twice, as fast as smtplib.

``make chaos ARGS="-k strangers -s"`` shows the figures. The short form has the one server that comes from a wheel, and few emails.
"""

from __future__ import annotations

import smtplib
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_outbox import Email
from flasky.extensions import db
from tests.chaos.conftest import LONG
from tests.servers import wait_until
from tests.strangers import debian, letters, node, python
from tests.strangers.stranger import Missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask

    from tests.strangers.stranger import Stranger

ROUNDS, EMAILS = (2, 1000) if LONG else (2, 50)
FAST = [
    python.Aiosmtpd,
    *([debian.Exim, debian.OpenSmtpd, debian.Sendmail, node.Haraka, node.NodeSmtpServer, debian.OwnPostfix] if LONG else []),
]
SHY = [debian.Postscreen, debian.Greylisting] if LONG else []


@pytest.fixture
def stranger(request: pytest.FixtureRequest) -> Iterator[Stranger]:
    one = request.param()
    try:
        one.__enter__()
    except Missing as missing:
        pytest.skip(f"{one.name} cannot be had here: {missing}")
    yield one
    one.__exit__()


# A recipient and the message for it.
Row = tuple[str, bytes]


class Drain:
    """An app whose mail goes to a stranger, and smtplib beside it."""

    def __init__(self, app: Flask, stranger: Stranger) -> None:
        self.app, self.stranger = app, stranger
        self.kinds: dict[int, str] = {}
        self.ours = self.smtplib = 0.0
        with smtplib.SMTP("127.0.0.1", stranger.port, timeout=60) as client:
            client.ehlo()
            self.takes_utf8 = client.has_extn("smtputf8")

    def put(self, count: int) -> None:
        first = len(self.kinds)
        for number in range(first, first + count):
            self.kinds[number] = letters.write(number, leave_out=self._is_left_out)

    def _is_left_out(self, kind: str) -> bool:
        return kind == "an unknown recipient" and not self.stranger.refuses

    def deliver(self) -> None:
        begun = time.perf_counter()
        self.app.extensions["mail"].deliver()
        self.ours += time.perf_counter() - begun

    def repeat_by_smtplib(self, count: int) -> None:
        """Send the last *count* emails by smtplib: prebuilt, over one connection that is kept."""
        rows = self._rows(count)
        begun = time.perf_counter()
        for some in batched(rows, self.stranger.per_connection):
            with smtplib.SMTP("127.0.0.1", self.stranger.port, timeout=60) as client:
                for recipient, source in some:
                    if recipient.isascii():
                        self._send(client, recipient, source)
        self.smtplib += time.perf_counter() - begun

    def _send(self, client: smtplib.SMTP, recipient: str, source: bytes) -> None:
        try:
            client.sendmail(letters.SENDER, [recipient], source)
        except smtplib.SMTPRecipientsRefused:
            assert recipient == letters.UNKNOWN

    def _rows(self, count: int) -> list[Row]:
        query = sa.text(
            "SELECT recipient, source FROM mail_email JOIN mail_content ON mail_content.id = content_id ORDER BY mail_email.id"
        )
        with db.engine.connect() as connection:
            rows = [(row.recipient, bytes(row.source)) for row in connection.execute(query)][-count:]
        return [(recipient, source.replace(b"X-Number:", b"X-Letter:", 1)) for recipient, source in rows]

    def statuses(self) -> Counter[str]:
        with db.engine.connect() as connection:
            return Counter(connection.scalars(sa.select(Email.status)))

    def make_due(self) -> None:
        """Let what was deferred be due now."""
        with db.engine.begin() as connection:
            connection.execute(sa.text("UPDATE mail_email SET send_at = created_at WHERE status = 'queued'"))

    def refused(self) -> set[int]:
        """Return the emails that this server cannot take."""
        wanted = {"an unknown recipient"} | (set() if self.takes_utf8 else {"an address beyond ASCII"})
        return {number for number, kind in self.kinds.items() if kind in wanted}

    def assert_each_arrived_once(self) -> None:
        """Each email is in the mailbox once and unchanged, or failed for its own reason."""
        wanted = set(self.kinds) - self.refused()
        assert self.statuses() == Counter(sent=len(wanted), failed=len(self.refused()))
        wait_until(
            lambda: self._count() >= len(wanted),
            self.stranger.patience,
            f"the arrival of {len(wanted)} emails, {self._count()} so far",
        )
        arrived = [source for source in self.stranger.arrived() if letters.number_of(source)[0] == "Number"]
        counts = Counter(letters.number_of(source)[1] for source in arrived)
        assert set(counts) == wanted
        assert max(counts.values()) == 1
        read = letters.content_of if self.stranger.recodes else letters.text_of
        sources = {letters.number_of(source)[1]: read(source) for _, source in self._rows(len(self.kinds))}
        changed = [number for source in arrived if read(source) != sources[number := letters.number_of(source)[1]]]
        assert [self.kinds[number] for number in changed] == []

    def _count(self) -> int:
        return sum(letters.number_of(source)[0] == "Number" for source in self.stranger.arrived())


def batched(rows: list[Row], size: int) -> Iterator[list[Row]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


@pytest.fixture
def drain(make_app: Callable[..., Flask], stranger: Stranger) -> Iterator[Drain]:
    app = make_app(mail_server="127.0.0.1", mail_port=stranger.port, mail_timeout=60, flasky_mail_dispatch="manual")
    with app.app_context():
        yield Drain(app, stranger)


@pytest.mark.parametrize("stranger", FAST, indirect=True, ids=lambda one: one.name)
def test_a_stranger_gets_each_email_once_and_as_fast_as_from_smtplib(drain: Drain, capsys: Any) -> None:
    for _ in range(ROUNDS):
        drain.put(EMAILS)
        drain.deliver()
        drain.repeat_by_smtplib(EMAILS)
    drain.assert_each_arrived_once()
    count, ratio = len(drain.kinds), drain.smtplib / drain.ours
    with capsys.disabled():
        print(  # noqa: T201 - the figures are wanted at the terminal
            f"\n{drain.stranger.name}: {count} emails, 0 lost, 0 copies; {count / drain.ours:.0f}/s, "
            f"smtplib {count / drain.smtplib:.0f}/s, ratio {ratio:.2f}"
        )


@pytest.mark.parametrize("stranger", SHY, indirect=True, ids=lambda one: one.name)
def test_a_stranger_that_wants_to_be_asked_again_gets_each_email_once(drain: Drain, capsys: Any) -> None:
    drain.put(ROUNDS * EMAILS)
    begun, passes = time.monotonic(), 0
    while drain.statuses()["queued"] and passes < 50:
        passes += 1
        drain.deliver()
        time.sleep(1)
        drain.make_due()
    drain.assert_each_arrived_once()
    with capsys.disabled():
        print(  # noqa: T201 - the figures are wanted at the terminal
            f"\n{drain.stranger.name}: {len(drain.kinds)} emails, 0 lost, 0 copies, "
            f"in {passes} passes, {time.monotonic() - begun:.0f} s"
        )
