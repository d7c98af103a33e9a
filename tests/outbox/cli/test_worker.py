"""``flask mail worker``: a real worker process, in an app that is not the site's worker.py."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tests.servers import Site, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from flask_outbox.testing import SmtpServer


ENQUEUE = """
from flask_outbox import Message, enqueue
from wsgi import app
with app.app_context():
    enqueue(Message("Hi", ["a@b.example"], "text"))
"""


def test_it_delivers_when_the_bell_rings_and_stops_on_sigterm(site: Callable[..., Site], smtp: SmtpServer, redis_url: str) -> None:
    host = site(MAIL_SERVER="127.0.0.1", MAIL_PORT=smtp.port, REDIS_URL=redis_url)
    host.migrate()
    worker = host.start("flask-worker", "flask", "mail", "worker")
    wait_until(lambda: "worker started" in worker.output, 20, "the worker")
    host.run("python", "-c", ENQUEUE)
    assert smtp.wait_for(1)[0].recipient == "a@b.example"
    assert worker.stop() == 0


def burst(host: Site) -> tuple[int, str]:
    worker = host.start("burst", "python", "worker.py", "--burst")
    return worker.popen.wait(40), worker.output


def test_a_burst_that_can_deliver_nothing_exits_with_a_sentence_and_another_code(
    site: Callable[..., Site], smtp: SmtpServer, redis_url: str
) -> None:
    host = site(MAIL_SERVER="127.0.0.1", MAIL_PORT=1, REDIS_URL=redis_url)
    host.migrate()
    host.run("python", "-c", ENQUEUE)
    code, output = burst(host)
    assert code == 1
    assert output.splitlines()[-1].startswith("no email can be sent: cannot use 127.0.0.1:1")
    # The first pause is over after a second.
    host.env["MAIL_PORT"] = str(smtp.port)
    time.sleep(1)
    assert burst(host)[0] == 0
    assert smtp.wait_for(1)[0].recipient == "a@b.example"


def test_a_burst_without_its_database_exits_with_a_sentence_and_another_code(site: Callable[..., Site], redis_url: str) -> None:
    code, output = burst(site(DATABASE_URL="postgresql://127.0.0.1:1/none", MAIL_SERVER="127.0.0.1", REDIS_URL=redis_url))
    assert code == 1
    assert "the database cannot be used" in output.splitlines()[-1]


def test_without_rq_it_says_what_to_set(make_app: Callable[..., Flask]) -> None:
    result: Any = make_app().test_cli_runner().invoke(args=["mail", "worker"])
    assert result.exit_code == 1
    assert "needs MAIL_DELIVERY=rq and MAIL_REDIS_URL" in result.output
