"""``flask mail doctor``: each check on a real part, in order and out of order; exit code and JSON."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_outbox import Mail, Message, enqueue
from flask_outbox.doctor import examination, examine
from flask_outbox.doctor.configuration import check_settings
from flask_outbox.doctor.database import check_database
from flask_outbox.doctor.server import check_server
from flask_outbox.doctor.website import check_base_url
from flask_outbox.settings import MailSettings
from flask_outbox.smtp.server import Server
from flask_outbox.store.database import clock
from flask_outbox.store.models import workers
from flask_outbox.testing import reply, stall
from flasky.config.kinds import sqlalchemy_url
from flasky.extensions import db
from tests.servers import free_port

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import trustme

    from flask_outbox.doctor import Finding
    from flask_outbox.testing import SmtpServer
    from tests.outbox.doctor.conftest import DnsServer

NAMES = ["settings", "sender", "base-url", "database", "clock", "tables", "redis", "workers", "health", "smtp", "tls", "login"]
NAMES += ["capabilities", "sender-domain", "spf", "dkim", "dmarc"]


def by_name(findings: Any) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def appear(name: str, seconds_ago: float = 0) -> None:
    now = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    with db.engine.begin() as connection:
        connection.execute(sa.insert(workers).values(name=name, started_at=now, seen_at=now, doing="waiting for mail"))


@pytest.fixture
def acme(make_app: Callable[..., Flask], dns_server: DnsServer, database_url: str) -> Iterator[Flask]:
    """An app whose sender's domain is in order, on both databases."""
    dns_server.records["acme.com", "MX"] = ["10 mail.acme.com."]
    dns_server.txt("acme.com", "v=spf1 mx -all")
    dns_server.txt("_dmarc.acme.com", "v=DMARC1; p=reject; rua=mailto:d@acme.com")
    app = make_app(database_url=database_url, flasky_mail_sender="Acme <mail@acme.com>", flasky_base_url="https://localhost")
    with app.app_context():
        yield app


def test_all_is_well(acme: Flask, doctor: Callable[..., Any]) -> None:
    result = doctor(acme)
    assert result.exit_code == 0, result.output
    levels = {line[10:26].strip(): line[:8].strip() for line in result.output.splitlines() if line[:8].strip()}
    assert list(levels) == NAMES
    assert "failed" not in levels.values()
    ours = ("settings", "sender", "database", "tables", "health", "smtp", "capabilities", "sender-domain", "spf", "dmarc")
    assert {levels[name] for name in ours} == {"ok"}


def test_the_same_in_json(acme: Flask, doctor: Callable[..., Any]) -> None:
    result = doctor(acme, "--json")
    document = json.loads(result.output)
    assert (result.exit_code, document["is_healthy"]) == (0, True)
    assert [finding["name"] for finding in document["findings"]] == NAMES
    assert {tuple(finding) for finding in document["findings"]} == {("name", "level", "what", "remedy")}


def test_a_failed_check_is_an_exit_code_and_a_remedy(make_app: Callable[..., Flask], doctor: Callable[..., Any]) -> None:
    app = make_app(mail_port=free_port())
    result = doctor(app)
    assert result.exit_code == 1
    assert "failed    smtp" in result.output
    assert "Check MAIL_SERVER and MAIL_PORT" in result.output
    assert not json.loads(doctor(app, "--json").output)["is_healthy"]


@pytest.mark.parametrize("address", ["dns.example.com", "127.0.0.1:x", ""])
def test_a_nameserver_that_is_no_address_is_a_sentence(app: Flask, address: str) -> None:
    result = app.test_cli_runner().invoke(args=["mail", "doctor", "--nameserver", address])
    assert (result.exit_code, "is no IPv4 address" in result.stderr) == (2, True)


def test_what_strangers_write_cannot_steer_the_terminal(acme: Flask, doctor: Callable[..., Any], dns_server: DnsServer) -> None:
    dns_server.txt("acme.com", "v=spf1 \\027[31mred\\010 -all")
    output = doctor(acme).output
    assert "v=spf1 ?[31mred -all" in output
    assert "\x1b" not in output
    assert "\\u001b[31m" in doctor(acme, "--json").output


def test_no_secret_is_printed(make_app: Callable[..., Flask], doctor: Callable[..., Any], smtp: SmtpServer) -> None:
    smtp.password = ("me", "right-password")
    url = f"redis://:redis-password@127.0.0.1:{free_port()}/0"
    app = make_app(mail_username="me", mail_password="wrong-password", redis_url=url, flasky_mail_dispatch="inline")
    result = doctor(app, "--json")
    findings = {finding["name"]: finding for finding in json.loads(result.output)["findings"]}
    assert (findings["smtp"]["level"], findings["redis"]["level"]) == ("failed", "failed")
    assert "535" in findings["smtp"]["what"]
    assert "-password" not in result.output


# Settings and base URL


def test_suspicious_settings() -> None:
    settings = MailSettings.from_config(
        {"MAIL_SUPPRESS_SEND": True, "MAIL_DEBUG": True, "MAIL_ALLOW_TO": "example.com", "MAIL_REDIRECT_TO": "qa@example.com"}
    )
    found = by_name(check_settings(settings, is_development=False))
    assert list(found) == ["settings", "sender", "suppress-send", "debug", "staging"]
    assert {finding.level for finding in list(found.values())[1:]} == {"warning"}
    assert list(by_name(check_settings(settings, is_development=True))) == ["settings", "sender", "staging"]


@pytest.mark.parametrize(
    ("url", "level", "words"),
    [
        ("", "warning", "no base URL"),
        ("http://localhost:5000", "warning", "recipient's own machine"),
        ("https://127.0.0.1", "warning", "recipient's own machine"),
        ("http://www.example.com", "warning", "not encrypted"),
        ("https://no-such-name.invalid", "failed", "has no address in DNS"),
        ("https://192.0.2.1", "ok", "--visit"),
    ],
)
def test_base_urls(url: str, level: str, words: str) -> None:
    finding = check_base_url(url, is_development=False)
    assert (finding.level, words in finding.what) == (level, True), finding


@pytest.mark.parametrize(("status", "level"), [(200, "ok"), (302, "ok"), (404, "ok"), (503, "failed")])
def test_a_visit_to_the_base_url(status: int, level: str) -> None:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        finding = check_base_url(f"http://127.0.0.1:{server.server_port}", is_development=True, visits=True)
        thread.join()
    assert (finding.level, str(status) in finding.what) == (level, True)


def test_a_visit_to_nobody() -> None:
    finding = check_base_url(f"http://127.0.0.1:{free_port()}", is_development=True, visits=True)
    assert (finding.level, "does not answer" in finding.what) == ("failed", True)


# Database


def test_tables_that_differ_and_what_needs_them(acme: Flask, doctor: Callable[..., Any]) -> None:
    with db.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE mail_email DROP COLUMN reply")
    findings = by_name(examine(acme.extensions["mail"]))
    assert findings["tables"].what == "column mail_email.reply is missing"
    assert (findings["tables"].level, findings["workers"].level, findings["health"].level) == ("failed", "skipped", "skipped")
    assert "flask db upgrade" in findings["tables"].remedy


def test_a_database_that_is_away(make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "create_all", lambda: None)
    app = make_app(database_url=f"postgresql://nobody@127.0.0.1:{free_port()}/nothing")
    findings = by_name(examine(app.extensions["mail"]))
    assert (findings["database"].level, "cannot be used" in findings["database"].what) == ("failed", True)
    assert findings["health"].level == "skipped"
    assert findings["smtp"].level == "ok"


def test_sqlite_without_a_write_ahead_log(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'plain.sqlite3'}")
    finding = by_name(check_database(engine, None))["database"]
    assert (finding.level, "journal mode delete" in finding.what) == ("warning", True)
    engine.dispose()


def test_an_outbox_in_memory_is_checked_in_the_thread_that_owns_it() -> None:
    app = Flask(__name__)
    app.config.update(SQLALCHEMY_DATABASE_URI="sqlite://", TESTING=True)
    database = SQLAlchemy(app)
    Mail(app, database)
    with app.app_context():
        database.create_all()
        findings = by_name(examine(app.extensions["mail"]))
        assert (findings["database"].level, findings["tables"].level, findings["health"].level) == ("warning", "ok", "ok")
        database.engine.dispose()


def test_postgresql_without_synchronous_commit(postgres_url: str) -> None:
    engine = sa.create_engine(sqlalchemy_url(postgres_url), connect_args={"options": "-c synchronous_commit=off"})
    assert by_name(check_database(engine, None))["database"].level == "warning"
    engine.dispose()


def test_a_clock_that_is_wrong(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from flask_outbox.doctor import database

    monkeypatch.setattr(database, "host_now", lambda: clock.host_now() - timedelta(minutes=2))
    engine = sa.create_engine(sqlalchemy_url(postgres_url))
    finding = by_name(check_database(engine, None))["clock"]
    assert (finding.level, "120 s apart" in finding.what) == ("warning", True)
    engine.dispose()


# Redis and workers


def test_redis_answers_and_nobody_works(make_app: Callable[..., Flask], redis_url: str) -> None:
    app = make_app(redis_url=redis_url, flasky_mail_dispatch="rq")
    with app.app_context():
        enqueue(Message("hi", ["b@example.com"], "text", sender="a@example.com"))
        findings = by_name(examine(app.extensions["mail"]))
        assert (findings["redis"].level, findings["redis"].what.endswith("answers, 1 in the queue")) == ("ok", True)
        assert (findings["workers"].level, "flask mail worker" in findings["workers"].remedy) == ("failed", True)
        appear("web-1:7")
        appear("web-1:6", seconds_ago=600)
        finding = by_name(examine(app.extensions["mail"]))["workers"]
        assert finding.level == "warning"
        assert finding.what.startswith("1 running: web-1:7; not seen for a while: web-1:6; but none of them listens")


@pytest.mark.parametrize(("delivery", "level"), [("thread", "warning"), ("inline", "skipped"), ("manual", "skipped")])
def test_without_rq_nobody_has_to_be_running(make_app: Callable[..., Flask], delivery: str, level: str) -> None:
    assert by_name(examine(make_app(flasky_mail_dispatch=delivery).extensions["mail"]))["workers"].level == level


def test_health_tells_why_mail_does_not_go_out(quiet: Flask, put: Callable[..., Any], deliver: Any, smtp: SmtpServer) -> None:
    put()
    smtp.on("MAIL", reply("530 5.7.0 Authentication required"), always=True)
    deliver()
    finding = by_name(examine(quiet.extensions["mail"]))["health"]
    assert (finding.level, "530 5.7.0" in finding.what) == ("failed", True)


# SMTP


def test_nothing_is_sent(acme: Flask, doctor: Callable[..., Any], smtp: SmtpServer) -> None:
    doctor(acme)
    assert [line.split()[0].upper() for line in smtp.commands] == ["EHLO", "QUIT"]


def test_what_the_server_offers(smtp: SmtpServer) -> None:
    found = by_name(check_server(Server(smtp.host, smtp.port), is_suppressed=False))
    assert found["capabilities"].what == "offers PIPELINING, SIZE 10485760, SMTPUTF8"
    smtp.extensions = ["8BITMIME", "CHUNKING", "DSN"]
    found = by_name(check_server(Server(smtp.host, smtp.port), is_suppressed=False))
    assert found["capabilities"].what.startswith("offers 8BITMIME, CHUNKING, DSN; without PIPELINING (faster), SIZE")
    assert (found["tls"].level, found["login"].level) == ("skipped", "skipped")


@pytest.fixture
def tls(authority: trustme.CA, tmp_path: Path) -> Callable[..., tuple[ssl.SSLContext, Path]]:
    """A function that makes a server's context, whose certificate has *days* left, and the file with its authority."""

    def make(days: int) -> tuple[ssl.SSLContext, Path]:
        import ssl

        ends = datetime.now(UTC) + timedelta(days=days, hours=1)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("localhost", not_after=ends).configure_cert(context)
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        return context, tmp_path / "ca.pem"

    return make


@pytest.mark.parametrize(("days", "level"), [(60, "ok"), (5, "warning")])
def test_tls_and_the_days_that_are_left(smtp: SmtpServer, tls: Callable[..., Any], days: int, level: str) -> None:
    smtp.tls, ca_file = tls(days)
    smtp.password = ("me", "secret")
    server = Server("localhost", smtp.port, use_tls=True, ca_file=str(ca_file), username="me", password="secret")
    found = by_name(check_server(server, is_suppressed=False))
    assert (found["tls"].level, f"expires in {days} days" in found["tls"].what) == (level, True), found["tls"]
    assert found["login"].level == "ok"


def test_an_expired_certificate_has_failed(smtp: SmtpServer, tls: Callable[..., Any]) -> None:
    smtp.tls, ca_file = tls(-1)
    found = by_name(check_server(Server("localhost", smtp.port, use_tls=True, ca_file=str(ca_file)), is_suppressed=False))
    assert (found["smtp"].level, "expired" in found["smtp"].what) == ("failed", True)
    assert {found[name].level for name in ("tls", "login", "capabilities")} == {"skipped"}


def test_suppressed_mail_needs_no_server(smtp: SmtpServer) -> None:
    (finding,) = check_server(Server(smtp.host, smtp.port), is_suppressed=True)
    assert (finding.level, smtp.connections) == ("skipped", 0)


# The examination


def test_what_hangs_does_not_keep_the_doctor(
    make_app: Callable[..., Flask], smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examination, "LONGEST", 0.5)
    app = make_app()
    smtp.on("CONNECT", stall)
    begun = time.monotonic()
    findings = by_name(examine(app.extensions["mail"]))
    assert time.monotonic() - begun < 2
    assert (findings["smtp"].level, findings["smtp"].what) == ("failed", "no answer within 0.5 s")
    assert findings["settings"].level == "ok"


def test_a_bug_in_one_check_leaves_the_others_alone(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "check_server", lambda *_, **__: 1 / 0)
    findings = by_name(examine(app.extensions["mail"]))
    assert (findings["smtp"].level, "ZeroDivisionError" in findings["smtp"].what) == ("failed", True)
    assert findings["database"].level == "ok"
