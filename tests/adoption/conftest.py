"""Small host apps that know the library from its documentation alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import requests
import sqlalchemy as sa
from flask import Flask

from flask_outbox import Email, Mail
from tests.servers import BIN, ROOT, Process, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flask_outbox.testing import SmtpServer


class HostProcess:
    """An app in a folder of its own, started as its author would start it."""

    def __init__(self, folder: Path, library: Path, **settings: object) -> None:
        self.folder, self.port = folder, free_port()
        keep = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "TMPDIR"}}
        self.env = keep | {
            "PATH": f"{BIN}{os.pathsep}{keep['PATH']}",
            "PYTHONPATH": str(library),
            "PYTHONUNBUFFERED": "1",
        }
        self.env |= {name: str(value) for name, value in settings.items()}
        self._processes: list[Process] = []

    def start(self, name: str, *command: str) -> Process:
        process = Process(list(command), self.folder / f"{name}.log", self.env, self.folder)
        self._processes.append(process)
        return process

    def serve(self, *command: str) -> Process:
        """Start the web server, ``flask run`` if no *command* is given, and return once it answers."""
        process = self.start("web", *(command or ("flask", "run", "--port", str(self.port))))
        wait_until(lambda: self._answers(process), 30, "the web server")
        return process

    def _answers(self, process: Process) -> bool:
        assert process.popen.poll() is None, process.output
        try:
            return requests.get(self.url("/"), timeout=5).status_code < 500
        except requests.ConnectionError:
            return False

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def get(self, path: str) -> str:
        return requests.get(self.url(path), timeout=20).text

    def post(self, path: str) -> requests.Response:
        return requests.post(self.url(path), timeout=20)

    def run(self, *command: str) -> str:
        """Run a command to its end, and return what it printed."""
        done = subprocess.run(command, env=self.env, cwd=self.folder, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.kill()


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the library and nothing of the site."""
    folder = tmp_path_factory.mktemp("library")
    (folder / "flask_outbox").symlink_to(ROOT / "flask_outbox", target_is_directory=True)
    return folder


@pytest.fixture
def host_process(tmp_path: Path, library: Path, smtp: SmtpServer) -> Iterator[Callable[..., HostProcess]]:
    """A function that copies a folder or writes the source of an app, and returns its process; keywords are the environment."""
    made: list[HostProcess] = []

    def make(app: str | Path, **settings: object) -> HostProcess:
        folder = tmp_path / "host"
        if isinstance(app, str):
            folder.mkdir()
            write_templates(folder)
            (folder / "app.py").write_text(app)
        else:
            shutil.copytree(app, folder, ignore=shutil.ignore_patterns("__pycache__", "instance"))
        process = HostProcess(folder, library, FLASK_MAIL_SERVER="127.0.0.1", FLASK_MAIL_PORT=smtp.port, **settings)
        made.append(process)
        return process

    yield make
    for one in made:
        one.stop()


def write_templates(folder: Path) -> None:
    templates = folder / "templates"
    templates.mkdir(exist_ok=True)
    (templates / "hello.txt").write_text("Hello {{ name }}!")
    (templates / "hello.html").write_text("<p>Hello {{ name }}!")


@pytest.fixture
def make_flask(tmp_path: Path, smtp: SmtpServer) -> Callable[..., Flask]:
    """A function that makes a bare Flask app with mail templates and a mail server; its keywords are settings."""
    write_templates(tmp_path)

    def make(name: str = "host", **settings: Any) -> Flask:
        app = Flask(name, root_path=str(tmp_path), instance_path=str(tmp_path))
        app.config.update(
            MAIL_SERVER="127.0.0.1",
            MAIL_PORT=smtp.port,
            MAIL_TIMEOUT=5,
            MAIL_DEFAULT_SENDER="Host <host@b.example>",
            MAIL_DELIVERY="manual",
        )
        app.config.update(settings)
        return app

    return make


@pytest.fixture
def sqlalchemy_url(database_url: str) -> str:
    """Both databases, one after the other, by the URL that SQLAlchemy's psycopg dialect wants."""
    return psycopg_url(database_url)


@pytest.fixture
def postgresql_url(postgres_url: str) -> str:
    return psycopg_url(postgres_url)


def psycopg_url(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://")


@pytest.fixture
def make_engine() -> Iterator[Callable[..., sa.Engine]]:
    """A function that makes an engine, which ends with the test."""
    made: list[sa.Engine] = []

    def make(url: str, **options: Any) -> sa.Engine:
        made.append(sa.create_engine(url, **options))
        return made[-1]

    yield make
    for engine in made:
        engine.dispose()


def stored(engine: sa.Engine | sa.Connection) -> list[str]:
    """Return the recipients in the outbox, as another connection sees them."""
    statement = sa.select(Email.recipient).order_by(Email.id)
    if isinstance(engine, sa.Connection):
        return list(engine.scalars(statement))
    with engine.connect() as connection:
        return list(connection.scalars(statement))


@pytest.fixture
def in_outbox() -> Callable[[sa.Engine | sa.Connection], list[str]]:
    """A function that returns the recipients in the outbox, as another connection sees them."""
    return stored


@pytest.fixture
def flask_sqlalchemy_host(make_flask: Callable[..., Flask], sqlalchemy_url: str) -> Iterator[tuple[Flask, Any]]:
    """An app with Flask-SQLAlchemy over each database, its context pushed, and its ``db`` with a model ``User``."""
    from flask_sqlalchemy import SQLAlchemy

    app = make_flask(SQLALCHEMY_DATABASE_URI=sqlalchemy_url)
    db = SQLAlchemy(app)
    db.User = type("User", (db.Model,), {"id": db.Column(db.Integer, primary_key=True), "name": db.Column(db.String(50))})
    Mail(app)
    with app.app_context():
        db.create_all()
        yield app, db
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def run_python(tmp_path: Path, library: Path) -> Callable[..., str]:
    """A function that runs lines of Python in a process of their own, and returns what they print."""
    write_templates(tmp_path)

    def run(*lines: str) -> str:
        env = os.environ | {"PYTHONPATH": str(library)}
        command = [sys.executable, "-W", "error", "-c", "\n".join(lines)]
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
