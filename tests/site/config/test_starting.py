"""What the settings make of the app, and how a process starts, or does not."""

from __future__ import annotations

import os
import subprocess

import pytest
import sqlalchemy as sa

from flasky import create_app
from flasky.config import ROOT
from tests.site.config.reading import BIN, read, start

# What the app is made of


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("postgres://u:p@h/d", "postgresql+psycopg"),
        ("postgresql://u:p@h/d?sslmode=require", "postgresql+psycopg"),
        ("postgresql+psycopg2://u:p@h/d", "postgresql+psycopg"),
        ("sqlite:////tmp/x.db", "sqlite"),
        ("", "sqlite"),
    ],
)
def test_the_databases_url_is_understood(url: str, driver: str) -> None:
    parsed = sa.make_url(read(DATABASE_URL=url).sqlalchemy_url("/instance"))
    assert parsed.drivername == driver
    assert parsed.database == {"": "/instance/flasky.sqlite3", "sqlite:////tmp/x.db": "/tmp/x.db"}.get(url, "d")


@pytest.mark.parametrize(("url", "secure"), [("https://flasky.example/", True), ("", False)])
def test_cookies_are_secure_where_the_site_is(url: str, secure: bool) -> None:
    config = read(FLASKY_BASE_URL=url, PORT="5050").as_config("/x")
    assert config["SESSION_COOKIE_SECURE"] is secure
    assert config["SESSION_COOKIE_HTTPONLY"] is True
    assert config["FLASKY_BASE_URL"] == ("https://flasky.example" if secure else "http://localhost:5050")


def test_only_the_sites_own_hosts_and_in_development_loopback_are_trusted() -> None:
    own = {"FLASKY_BASE_URL": "https://flasky.example:8443", "FLASKY_TRUSTED_HOSTS": "www.flasky.example"}
    assert read(**own).trusted_hosts == ["flasky.example", "www.flasky.example"]
    assert read().trusted_hosts == ["localhost"]
    assert read(FLASKY_DEV="1").trusted_hosts == ["127.0.0.1", "localhost"]


@pytest.mark.parametrize(
    ("environ", "bell"),
    [
        ({}, "ThreadBell"),
        ({"REDIS_URL": "redis://localhost"}, "RqBell"),
        ({"REDIS_URL": "redis://localhost", "FLASKY_MAIL_DISPATCH": "thread"}, "ThreadBell"),
        ({"FLASKY_MAIL_DISPATCH": "inline"}, "InlineBell"),
    ],
)
def test_mail_is_dispatched_by_rq_where_there_is_a_redis(environ: dict[str, str], bell: str) -> None:
    assert type(create_app(read(**environ)).extensions["mail"].bell).__name__ == bell


# Starting

COMMANDS = ["worker.py", "-m gunicorn --check-config wsgi:app", "-m flask routes", "-m flasky.inbox"]


def test_a_wrong_configuration_stops_every_start_with_a_message_and_no_traceback() -> None:
    started = {command: start(command, {"SECRET_KEY": "short", "MAIL_PORT": "x"}) for command in COMMANDS}
    for command, process in started.items():
        said, _ = process.communicate(timeout=30)
        assert process.returncode != 0, command
        assert "MAIL_PORT is 'x': it has to be a whole number" in said, command
        assert "SECRET_KEY is shorter than 16 characters" in said, command
        assert "Traceback" not in said, command


def test_the_web_process_of_the_procfile_lists_what_gunicorn_would_stumble_over() -> None:
    web = next(line.partition(":")[2] for line in (ROOT / "Procfile").read_text().splitlines() if line.startswith("web:"))
    clean = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "PYTHON_DOTENV_DISABLED": "1"}
    wrong = {"SECRET_KEY": "short", "WEB_CONCURRENCY": "1.5"}
    done = subprocess.run(web, shell=True, env=clean | wrong, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode != 0
    assert "WEB_CONCURRENCY is '1.5': it has to be a whole number" in done.stderr
    assert "SECRET_KEY is shorter than 16 characters" in done.stderr
    assert "Traceback" not in done.stderr
