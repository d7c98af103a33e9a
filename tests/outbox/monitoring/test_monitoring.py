"""Metrics and health: read by Prometheus' own parser, the same from each process, and closed to strangers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, get_args

import pytest
import sqlalchemy as sa
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_outbox import ConfigurationError, Email
from flask_outbox.monitoring import blueprint, monitoring
from flask_outbox.store.models import Attempt, Worker
from flask_outbox.store.status.health import Reason
from flask_outbox.testing import SmtpServer, reply
from flasky.extensions import db

if TYPE_CHECKING:
    from flask import Flask

TOKEN = "a token of this test alone"
STRANGER = {"REMOTE_ADDR": "203.0.113.9"}
PATHS = ("/m/metrics", "/m/healthz", "/m/readyz")


@pytest.fixture
def app(quiet: Flask) -> Flask:
    quiet.register_blueprint(monitoring(TOKEN, name="of_this_test"), url_prefix="/m")
    return quiet


@pytest.fixture
def client(app: Flask) -> Any:
    return app.test_client()


def scrape(client: Any) -> dict[tuple[str, ...], float]:
    """Return the value of each metric, by its name and labels, as Prometheus understands them."""
    response = client.get("/m/metrics")
    assert response.status_code == 200
    assert response.content_type.startswith("text/plain; version=")
    families = parser.text_string_to_metric_families(response.text)
    return {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}


def overdue() -> None:
    with db.engine.begin() as connection:
        connection.execute(sa.update(Email).values(send_at=datetime.now(UTC) - timedelta(hours=1)))


def test_the_metrics_of_an_outbox(client: Any, put: Any, deliver: Any, smtp: SmtpServer) -> None:
    smtp.on("RCPT", reply("550 5.1.1 no"))
    for _ in range(3):
        put()
    deliver()
    put()
    now = datetime.now(UTC)
    with db.engine.begin() as connection:
        # The step of five minutes that is over.
        connection.execute(sa.update(Attempt).values(started_at=now - timedelta(seconds=now.timestamp() % 300 + 1)))
        for name, seen in (("a", now), ("b", now - timedelta(hours=1))):
            connection.execute(sa.insert(Worker).values(name=name, started_at=now, seen_at=seen, doing="waiting"))
    found = scrape(client)
    assert found["flask_outbox_healthy",] == 1
    assert [found["flask_outbox_emails", status] for status in ("sent", "failed", "queued", "held")] == [2, 1, 1, 0]
    assert found["flask_outbox_due",] == 1
    assert 0 <= found["flask_outbox_oldest_due_seconds",] < 60
    # PostgreSQL does not use every number.
    assert found["flask_outbox_attempts_total",] >= 3
    assert [found["flask_outbox_attempts_last_5_minutes", one] for one in ("sent", "put_off", "refused")] == [2, 0, 1]
    assert found["flask_outbox_delivery_seconds", "0.5"] <= found["flask_outbox_delivery_seconds", "0.95"]
    assert [found["flask_outbox_workers", state] for state in ("running", "lost")] == [1, 1]


def test_each_reason_has_a_metric_of_its_own(client: Any, put: Any) -> None:
    put()
    overdue()
    found = scrape(client)
    assert found["flask_outbox_healthy",] == 0
    assert {reason: found["flask_outbox_problem", reason] for reason in get_args(Reason)} == dict.fromkeys(
        get_args(Reason), 0.0
    ) | {"worker": 1.0}


def test_a_purge_does_not_turn_the_counter_back(client: Any, put: Any, deliver: Any) -> None:
    for _ in range(3):
        put()
    deliver()
    before = scrape(client)["flask_outbox_attempts_total",]
    with db.engine.begin() as connection:
        connection.execute(sa.delete(Attempt).where(Attempt.id < before))
    assert scrape(client)["flask_outbox_attempts_total",] == before >= 3


def test_a_scraper_that_prefers_openmetrics_gets_it(client: Any, put: Any, deliver: Any) -> None:
    put()
    deliver()
    response = client.get("/m/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert response.content_type.startswith("application/openmetrics-text")
    assert "flask_outbox_emails" in {family.name for family in openmetrics.text_string_to_metric_families(response.text)}


def test_without_a_database_the_metrics_are_those_of_health(client: Any) -> None:
    with db.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE mail_email RENAME TO lost"))
    try:
        found = scrape(client)
        assert (found["flask_outbox_healthy",], found["flask_outbox_problem", "database"]) == (0, 1)
        assert client.get("/m/readyz").status_code == 503
        assert client.get("/m/healthz").status_code == 200
    finally:
        with db.engine.begin() as connection:
            connection.execute(sa.text("ALTER TABLE lost RENAME TO mail_email"))


def test_a_database_that_fails_after_health_was_read_is_told_too(client: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert client.get("/m/readyz").status_code == 200
    with db.engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE mail_worker"))
    response = client.get("/m/metrics")
    assert (response.status_code, response.text) == (503, "database\n")
    assert "the outbox cannot be read" in caplog.text


def test_ready_says_why_not_in_a_word(client: Any, put: Any, deliver: Any, smtp: SmtpServer) -> None:
    assert (client.get("/m/readyz").status_code, client.get("/m/readyz").text) == (200, "ok\n")
    client.application.extensions["mail"].__dict__.pop("status_reader")
    put()
    smtp.on("MAIL", reply("530 5.7.0 susan@example.com may not"), always=True)
    deliver()
    response = client.get("/m/readyz")
    assert response.status_code == 503
    assert response.text.startswith("configuration since 20")
    assert "susan" not in response.text


# Who may look


@pytest.mark.parametrize("path", PATHS)
def test_a_stranger_is_turned_away(client: Any, path: str) -> None:
    assert client.get(path, environ_base=STRANGER).status_code == 403
    assert client.get(path, environ_base={"REMOTE_ADDR": ""}).status_code == 403
    assert client.get(path, environ_base={"REMOTE_ADDR": "localhost.evil.example"}).status_code == 403


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
def test_this_machine_may_look(client: Any, address: str) -> None:
    assert client.get("/m/healthz", environ_base={"REMOTE_ADDR": address}).text == "ok\n"


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
def test_a_proxy_on_this_machine_does_not_let_strangers_in(client: Any, header: str) -> None:
    for value in ("203.0.113.9", "127.0.0.1", ""):
        assert client.get("/m/metrics", headers={header: value}).status_code == 403


def test_behind_proxyfix_a_stranger_cannot_say_that_he_is_local(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "wsgi_app", ProxyFix(app.wsgi_app, x_for=1))
    client = app.test_client()
    for value in ("127.0.0.1", "203.0.113.9, 127.0.0.1", "127.0.0.1, 203.0.113.9"):
        assert client.get("/m/metrics", headers={"X-Forwarded-For": value}, environ_base=STRANGER).status_code == 403


@pytest.mark.parametrize("path", PATHS)
def test_who_has_the_token_may_look_from_anywhere(client: Any, path: str) -> None:
    for value in (f"Bearer {TOKEN}", f"bearer  {TOKEN} "):
        headers = {"Authorization": value, "X-Forwarded-For": "203.0.113.9"}
        assert client.get(path, headers=headers, environ_base=STRANGER).status_code == 200


WRONG = ["", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", "Bearer ß"]


@pytest.mark.parametrize("value", WRONG)
def test_a_wrong_token_opens_nothing(client: Any, value: str) -> None:
    assert client.get("/m/metrics", headers={"Authorization": value}, environ_base=STRANGER).status_code == 403


@pytest.mark.parametrize("token", [None, ""])
def test_without_a_token_an_empty_one_opens_nothing(quiet: Flask, token: str | None) -> None:
    quiet.register_blueprint(monitoring(token, name="closed"), url_prefix="/closed")
    client = quiet.test_client()
    for value in ("Bearer", "Bearer ", "Bearer None"):
        assert client.get("/closed/healthz", headers={"Authorization": value}, environ_base=STRANGER).status_code == 403


def test_metrics_without_their_library_are_refused_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blueprint, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"pip install flask-outbox\[metrics\]"):
        monitoring()
    assert monitoring(metrics=False).name == "mail_monitoring"
