"""A large sending is killed, doubled, interrupted and measured, in processes of its own: nobody gets it twice."""

from __future__ import annotations

import os
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_outbox import URGENT, Email, Message, enqueue
from flask_outbox.testing import slow
from tests.lettered import write_people
from tests.servers import ROOT, Site, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flask import Flask

    from flask_outbox.testing import SmtpServer


class Office:
    """Somebody who starts the command, over a database of her own."""

    def __init__(self, site: Site, url: str, folder: Path) -> None:
        self.site, self.folder = site, folder
        self.engine = sa.create_engine(url)

    def command(self, file: Path | str) -> list[str]:
        return [
            "flask",
            "--app",
            "tests.lettered:make_app",
            "mail",
            "send-many",
            "mail/letter",
            str(file),
            "-s",
            "Hello {{ name }}",
        ]

    def start(self, file: Path, **options: Any) -> subprocess.Popen[bytes]:
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} | options
        return subprocess.Popen(self.command(file), env=self.site.env, cwd=ROOT, start_new_session=True, **options)

    def recipients(self) -> list[str]:
        with self.engine.connect() as connection:
            return list(connection.scalars(sa.select(Email.recipient)))


@pytest.fixture
def office(site: Callable[..., Site], database_url: str, make_app: Any, tmp_path: Path, smtp: SmtpServer) -> Iterator[Office]:
    make_app(database_url=database_url)
    one = Office(
        site(DATABASE_URL=database_url, MAIL_SERVER="127.0.0.1", MAIL_PORT=smtp.port, FLASKY_MAIL_DISPATCH="thread"),
        database_url,
        tmp_path,
    )
    yield one
    one.engine.dispose()


def test_killed_in_the_middle_and_started_again_it_sends_each_person_one_mail(
    office: Office, make_app: Callable[..., Flask], database_url: str, smtp: SmtpServer
) -> None:
    file = write_people(office.folder / "people.csv", 2_000)
    victim = office.start(file, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(office.recipients, 20, "the first chunk")
    victim.kill()
    victim.wait(10)
    stored = office.recipients()
    assert 0 < len(stored) < 2_000
    output = office.site.run(*office.command(file))
    assert f"{2_000 - len(stored)} emails stored" in output
    assert f"{len(stored)} lines skipped" in output
    assert len(office.recipients()) == len(set(office.recipients())) == 2_000
    make_app(database_url=database_url).test_cli_runner().invoke(args=["mail", "deliver"])
    assert len(smtp.accepted) == len({one.recipient for one in smtp.accepted}) == 2_000


def test_two_at_once_send_nobody_twice(office: Office) -> None:
    files = [write_people(office.folder / f"{way}.csv", 2_000, backwards=way) for way in (False, True)]
    both = [office.start(file) for file in files]
    outputs = [one.communicate(timeout=60)[0].decode() for one in both]
    assert [one.returncode for one in both] == [0, 0], outputs
    assert sum(int(output.split()[0]) for output in outputs) == 2_000
    assert len(office.recipients()) == len(set(office.recipients())) == 2_000


# The peak of a process that pytest itself starts would begin with that of pytest.
WRAPPER = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (1024 if sys.platform == "linux" else 1024**2))
"""


def test_the_memory_does_not_grow_with_the_sending(office: Office) -> None:
    few, many = (
        float(office.site.run("python", "-c", WRAPPER, *office.command(write_people(office.folder / f"{count}.csv", count))))
        for count in (400, 10_000)
    )
    assert len(office.recipients()) == 10_000
    assert many < 150
    assert many - few < 8


def test_at_a_terminal_a_bar_shows_and_an_interruption_ends_it_cleanly(office: Office) -> None:
    file = write_people(office.folder / "people.csv", 20_000)
    ours, theirs = os.openpty()
    process = office.start(file, stderr=theirs, stdout=subprocess.PIPE)
    os.close(theirs)
    screen = b""
    while b"[#" not in screen:
        screen += os.read(ours, 4096)
    process.send_signal(signal.SIGINT)
    while b"Error" not in screen or not screen.endswith(b"\n"):
        screen += os.read(ours, 4096)
    output = process.communicate(timeout=20)[0].decode()
    os.close(ours)
    assert b"storing" in screen
    assert b"Error: stopped before the end: run the same command again to continue" in screen
    assert process.returncode == 1
    assert 0 < int(output.split()[0]) == len(office.recipients()) < 20_000


def test_urgent_mail_arrives_within_two_seconds_while_a_sending_is_stored_and_sent(
    office: Office, make_app: Callable[..., Flask], database_url: str, redis_url: str, smtp: SmtpServer
) -> None:
    smtp.on("DOT", slow(0.001), always=True)
    office.site.env |= {"REDIS_URL": redis_url, "FLASKY_MAIL_DISPATCH": "rq"}
    app = make_app(database_url=database_url, flasky_mail_dispatch="rq", redis_url=redis_url)
    office.site.worker()
    process = office.start(write_people(office.folder / "people.csv", 10_000))
    smtp.wait_for(100, 30)
    waits = []
    for number in range(5):
        recipient, begun = f"{number}@urgent.example", datetime.now(UTC)
        with app.app_context():
            enqueue(Message("hi", [recipient], "text", sender="a@example.com"), priority=URGENT)
        wait_until(lambda wanted=recipient: wanted in [one.recipient for one in smtp.accepted[-1_000:]], what="the urgent mail")
        waits.append(datetime.now(UTC) - begun)
    assert len(smtp.accepted) < 10_000
    process.kill()
    process.communicate(timeout=10)
    assert max(waits) < timedelta(seconds=2)
