"""The examples, each started as its README says: a visitor posts a name, and a mail arrives."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.servers import ROOT, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_outbox.testing import SmtpServer
    from tests.adoption.conftest import HostProcess

EXAMPLES = ROOT / "examples"


def add_susan(host: HostProcess) -> None:
    answer = host.post("/users/susan")
    assert (answer.status_code, answer.text) == (201, "added\n")


def assert_susan_arrived(smtp: SmtpServer) -> None:
    (accepted,) = smtp.wait_for(1)
    assert accepted.recipient == "admin@example.com"
    assert accepted.message["Subject"] == "New user"
    assert accepted.message["From"] == "Demo <demo@example.com>"
    assert "User susan has joined." in accepted.source.decode()
    assert "User <strong>susan</strong> has joined." in accepted.source.decode()


@pytest.mark.parametrize("name", ["quickstart", "plain_sqlalchemy", "lite"])
def test_with_a_thread_the_app_alone_delivers(host_process: Callable[..., HostProcess], smtp: SmtpServer, name: str) -> None:
    host = host_process(EXAMPLES / name)
    web = host.serve()
    add_susan(host)
    assert_susan_arrived(smtp)
    wait_until(lambda: re.search(r"1\s+sent", host.run("flask", "mail", "list")) is not None, what="the settled email")
    web.stop()
    assert "Traceback" not in web.output


def test_with_rq_the_worker_delivers(host_process: Callable[..., HostProcess], smtp: SmtpServer, redis_url: str) -> None:
    host = host_process(EXAMPLES / "rq", FLASK_MAIL_REDIS_URL=redis_url)
    host.serve()
    add_susan(host)
    assert smtp.accepted == []
    worker = host.start("worker", "python", "worker.py")
    assert_susan_arrived(smtp)
    host.post("/users/john")
    smtp.wait_for(2)
    assert worker.stop() == 0
    assert "Traceback" not in worker.output


def test_with_celery_its_worker_delivers(host_process: Callable[..., HostProcess], smtp: SmtpServer, redis_url: str) -> None:
    host = host_process(EXAMPLES / "celery_delivery", FLASK_CELERY__broker_url=redis_url)
    worker = host.start("worker", "celery", "-A", "app:celery", "worker", "--concurrency", "1", "--loglevel", "info")
    wait_until(lambda: "ready." in worker.output, 30, "the Celery worker")
    web = host.serve()
    add_susan(host)
    assert_susan_arrived(smtp)
    assert "deliver_mail" in worker.output
    assert "Traceback" not in worker.output + web.output


def test_with_celery_a_broker_that_is_down_delays_the_email_alone(
    host_process: Callable[..., HostProcess], smtp: SmtpServer
) -> None:
    host = host_process(EXAMPLES / "celery_delivery", FLASK_CELERY__broker_url="redis://127.0.0.1:1/0")
    web = host.serve()
    add_susan(host)
    assert smtp.accepted == []
    assert "the bell failed after a commit; the email is stored" in web.output
    host.run("flask", "mail", "deliver")
    assert_susan_arrived(smtp)


def test_with_cron_the_line_of_the_readme_delivers(host_process: Callable[..., HostProcess], smtp: SmtpServer) -> None:
    line = re.search(r"^\* \* \* \* \*  cd /srv/app && \.venv/bin/(.+)$", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    assert line is not None
    host = host_process(EXAMPLES / "quickstart", FLASK_MAIL_DELIVERY="manual")
    host.serve()
    add_susan(host)
    assert smtp.accepted == []
    host.run(*line[1].split())
    assert_susan_arrived(smtp)


def test_every_example_is_in_the_readme() -> None:
    named = set(re.findall(r"^\| `(\w+)`", (EXAMPLES / "README.md").read_text(), re.MULTILINE))
    assert {folder.parent.name for folder in EXAMPLES.glob("*/app.py")} <= named
