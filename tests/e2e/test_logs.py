"""The site's processes write JSON alone, and one id leads from the visitor's request to the accepted email."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.servers import Process, Visitor, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_outbox.testing import SmtpServer
    from tests.servers import RedisServer, Site


def lines_of(process: Process) -> list[dict[str, Any]]:
    return [json.loads(line) for line in process.output.splitlines()]


def test_one_id_from_the_request_to_the_acceptance(site: Callable[..., Site], smtp: SmtpServer, own_redis: RedisServer) -> None:
    settings = {"REDIS_URL": own_redis.url, "MAIL_SERVER": smtp.host, "MAIL_PORT": smtp.port, "FLASKY_LOG_FORMAT": "json"}
    made = site(**settings)
    made.migrate()
    web, worker = made.web(), made.worker()
    visitor = Visitor(made.url)
    visitor.type_name("Susan")
    visitor.close()
    wait_until(lambda: len(smtp.accepted) == 1, 20, "the email")
    wait_until(lambda: "accepted" in worker.output, 5, "the worker's line")
    own_redis.stop()
    wait_until(lambda: "could not connect to Redis" in worker.output, 10, "RQ's line")
    web.stop()
    worker.stop()
    requested = next(line for line in lines_of(web) if line.get("method") == "POST")
    enqueued = next(line for line in lines_of(web) if line.get("event") == "enqueued")
    accepted = next(line for line in lines_of(worker) if line.get("event") == "accepted")
    assert requested["request_id"] == enqueued["request_id"] == accepted["request_id"]
    assert enqueued["email_id"] == accepted["email_id"] == 1
    assert (requested["logger"], requested["path"], requested["status"]) == ("gunicorn.access", "/", 302)
    # What others write is JSON too.
    assert {"gunicorn.error", "gunicorn.access", "flask_outbox.events"} <= {line["logger"] for line in lines_of(web)}
    assert {"flask_outbox.delivery.rq_worker", "flask_outbox.events", "rq.worker"} <= {line["logger"] for line in lines_of(worker)}
