"""The operator's pages: closed to everybody else, true about the queue, and unable to change it."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer

from flask_outbox.delivery.rq_worker import JOB, QUEUE
from flask_outbox.testing import stall
from flasky.admin.guard import PREFIX
from tests.servers import wait_until
from tests.site.visiting import fill, signed_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask
    from werkzeug.routing import Rule

    from flask_outbox.testing import SmtpServer
    from tests.servers import RedisServer, Site

ROOT = "/admin/rq"
VALUES = {"instance_number": 0, "queue_name": QUEUE, "registry_name": "queued", "per_page": 8, "order": "asc", "page": 1}
# What the dashboard can do, were it let.
CHANGES = [
    ("POST", "/job/{job}/delete"),
    ("POST", "/job/{job}/requeue"),
    ("GET", "/requeue/mail"),
    ("HEAD", "/requeue/mail"),
    ("POST", "/requeue/mail"),
    ("POST", "/queue/mail/queued/empty"),
    ("POST", "/queue/mail/failed/empty"),
    ("POST", "/queue/mail/compact"),
]


@pytest.fixture
def app(make_app: Callable[..., Flask], redis_url: str) -> Flask:
    return make_app(redis_url=redis_url, flasky_mail_dispatch="rq")


@pytest.fixture
def admin(app: Flask) -> Any:
    return signed_in(app, admin=True)


@pytest.fixture
def queue(redis_url: str) -> Iterator[Queue]:
    connection = Redis.from_url(redis_url)
    yield Queue(QUEUE, connection=connection, serializer=JSONSerializer)
    connection.close()


def admin_rules(app: Flask) -> list[Rule]:
    return [rule for rule in app.url_map.iter_rules() if rule.rule.startswith(PREFIX)]


def dashboard_rules(app: Flask) -> list[Rule]:
    return [rule for rule in admin_rules(app) if rule.endpoint.startswith("rq_dashboard.")]


def address(rule: Rule) -> str:
    """Return an address that *rule* matches."""
    return re.sub(r"<(?:\w+(?:\(.*?\))?:)?(\w+)>", lambda found: str(VALUES.get(found[1], "1")), rule.rule)


def ask_every_rule(app: Flask, client: Any) -> list[tuple[str, Any]]:
    asked = [(rule, method) for rule in admin_rules(app) for method in sorted(rule.methods or ())]
    return [(f"{method} {rule.rule}", client.open(address(rule), method=method)) for rule, method in asked]


def test_the_walk_reaches_what_it_should(app: Flask) -> None:
    adapter = app.url_map.bind("localhost")
    assert len(admin_rules(app)) > 15
    for rule in admin_rules(app):
        assert adapter.test(address(rule), method=min(rule.methods or ())), rule


def test_nothing_of_the_dashboard_is_outside_admin(app: Flask) -> None:
    assert {rule.rule for rule in app.url_map.iter_rules() if "rq_dashboard" in rule.endpoint} <= {
        rule.rule for rule in admin_rules(app)
    }


def without_token(app: Flask, answers: list[tuple[str, Any]], status: int) -> list[str]:
    """Return what was answered otherwise; a POST of a stranger may also be stopped for its missing token."""
    return [
        f"{what}: {answer.status}"
        for what, answer in answers
        if answer.status_code not in {status} | ({400} if "POST" in what else set())
    ]


def test_a_stranger_is_sent_to_sign_in_by_every_rule(app: Flask, client: Any) -> None:
    answers = ask_every_rule(app, client)
    assert not without_token(app, answers, 302)
    locations = {answer.location.partition("?")[0] for _, answer in answers if answer.status_code == 302}
    assert locations == {"/auth/sign-in"}


def test_someone_without_the_role_gets_403_from_every_rule(app: Flask) -> None:
    assert not without_token(app, ask_every_rule(app, signed_in(app)), 403)


@pytest.mark.parametrize(
    "path", ["/admin", "/admin/", "/admin/nothing", "/admin/rq", "/admin/rq/nothing", "/admin//rq/", "/admin/rq/../rq/"]
)
def test_an_address_where_nothing_is_tells_a_stranger_no_more(client: Any, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code in {302, 308, 404}
    assert "queue" not in answer.text.lower()
    assert client.get(path, follow_redirects=True).request.path in {"/auth/sign-in", path}


def test_only_admin_itself_is_guarded(client: Any) -> None:
    assert client.get("/administration").status_code == 404


def test_the_real_queue_and_its_jobs_are_shown(admin: Any, queue: Queue) -> None:
    fill(admin, name="susan")
    (job_id,) = queue.job_ids
    assert admin.get(f"{ROOT}/").status_code == 200
    (shown,) = admin.get(f"{ROOT}/0/data/queues.json").json["queues"]
    assert (shown["name"], shown["count"]) == (QUEUE, 1)
    (job,) = admin.get(f"{ROOT}/0/data/jobs/{QUEUE}/queued/8/asc/1.json").json["jobs"]
    assert job["id"] == job_id
    assert job_id in admin.get(f"{ROOT}/0/view/job/{job_id}").text
    assert admin.get(f"{ROOT}/0/data/job/{job_id}.json").json["id"] == job_id


def test_nothing_about_anybody_is_in_redis_or_on_its_pages(admin: Any, queue: Queue) -> None:
    fill(admin, name="susan-the-visitor")
    data = b"".join(queue.connection.hgetall(Job.key_for(queue.job_ids[0])).values())
    pages = admin.get(f"{ROOT}/0/data/job/{queue.job_ids[0]}.json").text
    for secret in ("susan-the-visitor", "admin@example.com"):
        assert secret.encode() not in data
        assert secret not in pages


@pytest.mark.parametrize("view", ["view/queues", "view/workers", "view/jobs", "view/jobs/mail/failed/8/asc/1"])
def test_every_page_of_the_dashboard_is_there(admin: Any, queue: Queue, view: str) -> None:
    page = admin.get(f"{ROOT}/0/{view}", follow_redirects=True)
    assert page.status_code == 200
    for local in re.findall(r'(?:src|href)="(/[^"]+/static/[^"]+)"', page.text):
        with admin.get(local) as answer:
            assert answer.status_code == 200


def test_a_real_worker_is_shown_with_the_job_that_it_is_busy_with(
    app: Flask, admin: Any, site: Callable[..., Site], smtp: SmtpServer
) -> None:
    smtp.on("DOT", stall, always=True)
    worker = site(
        REDIS_URL=app.config["REDIS_URL"],
        DATABASE_URL=app.config["SQLALCHEMY_DATABASE_URI"],
        MAIL_SERVER="127.0.0.1",
        MAIL_PORT=smtp.port,
    ).worker()

    def workers(state: str) -> list[Any]:
        answer = admin.get(f"{ROOT}/0/data/workers.json")
        assert answer.status_code == 200
        return [worker for worker in answer.json["workers"] if worker["state"] == state]

    wait_until(lambda: workers("idle"), what="an idle worker on the dashboard")
    fill(admin, name="susan")
    wait_until(lambda: workers("busy"), what="a busy worker on the dashboard")
    (shown,) = workers("busy")
    assert shown["queues"] == [QUEUE]
    assert shown["pid"] == worker.popen.pid
    assert shown["current_job"]["call_string"] == f"{JOB}()"


@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_nothing_can_be_changed(app: Flask, admin: Any, queue: Queue, method: str, path: str) -> None:
    job = queue.enqueue(JOB)
    lost = queue.enqueue(JOB, job_id="lost")
    queue.remove(lost)
    queue.failed_job_registry.add(lost, ttl=60)
    app.config["WTF_CSRF_ENABLED"] = False  # the token of any form of the site must not be enough
    answer = admin.open(ROOT + path.format(job=job.id), method=method)
    assert answer.status_code == 405
    assert queue.job_ids == [job.id]
    assert queue.failed_job_registry.get_job_ids(cleanup=False) == ["lost"]


def test_every_rule_that_takes_more_than_get_is_refused(app: Flask, admin: Any) -> None:
    app.config["WTF_CSRF_ENABLED"] = False
    rules = [rule for rule in dashboard_rules(app) if "POST" in (rule.methods or ())]
    assert rules
    for rule in rules:
        for method in (rule.methods or set()) - {"GET", "HEAD"}:
            assert admin.open(address(rule), method=method).status_code == 405


@pytest.mark.parametrize("path", ["/0/view/job/nothing", "/0/data/job/nothing.json", "/1/", "/7/data/queues.json", "/nothing"])
def test_what_is_not_there_is_404(admin: Any, path: str) -> None:
    answer = admin.get(ROOT + path)
    assert answer.status_code == 404
    assert "Page not found" in answer.text


@pytest.mark.parametrize("trouble", ["stop", "freeze"])
def test_a_redis_that_is_away_is_said_so_soon(make_app: Callable[..., Flask], own_redis: RedisServer, trouble: str) -> None:
    admin = signed_in(make_app(redis_url=own_redis.url), admin=True)
    getattr(own_redis, trouble)()
    for path in ("/", "/0/data/workers.json"):
        start = time.monotonic()
        answer = admin.get(ROOT + path)
        assert time.monotonic() - start < 3
        assert answer.status_code == 503
        assert "Temporarily unavailable" in answer.text


def test_without_redis_there_is_no_dashboard_and_the_address_stays_guarded(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    assert not dashboard_rules(app)
    assert app.test_client().get(f"{ROOT}/").status_code == 302
    admin = signed_in(app, admin=True)
    assert admin.get(f"{ROOT}/").status_code == 404
    assert "Queue" not in admin.get("/").text


def test_the_password_of_redis_is_not_shown(make_app: Callable[..., Flask], redis_url: str) -> None:
    admin = signed_in(make_app(redis_url=redis_url.replace("//", "//:hidden-password@")), admin=True)
    page = admin.get(f"{ROOT}/")
    assert "hidden-password" not in page.text
