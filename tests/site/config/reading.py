"""Settings read from a few variables, what is wrong with them, and a process that starts with them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from flasky.config import ROOT, ConfigurationError, Settings

BIN = Path(sys.executable).parent
KEY = "0123456789abcdef"
NAMES = [one.name.upper() for one in fields(Settings)]
TLS = {"MAIL_USE_TLS": "1"}
OAUTH = {
    "MAIL_AUTH": "xoauth2",
    "MAIL_USERNAME": "me@example.com",
    "MAIL_OAUTH_CLIENT_ID": "id",
    "MAIL_OAUTH_REFRESH_TOKEN": "token",
} | TLS


def read(**environ: str) -> Settings:
    return Settings.from_env({"SECRET_KEY": KEY} | environ)


def problems(**environ: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read(**environ)
    return caught.value.problems


def start(code: str, environ: dict[str, str]) -> subprocess.Popen[str]:
    clean = {"PATH": os.environ["PATH"], "PYTHON_DOTENV_DISABLED": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *code.split()]
    return subprocess.Popen(command, env=clean | environ, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
