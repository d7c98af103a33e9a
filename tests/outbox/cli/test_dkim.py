"""``flask mail dkim-key``: a key that only its owner can read, its record, and the setting that uses it."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from flask_outbox.message.dkim.key import read_key
from flask_outbox.message.dkim.signer import Signer
from flask_outbox.settings import MailSettings
from flasky.config import ROOT
from tests.outbox.verifiers import verified

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

SOURCE = b"From: me@example.com\r\nSubject: Hi\r\n\r\ntext\r\n"


@pytest.fixture
def run(app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.chdir(tmp_path)
    return lambda *words: app.test_cli_runner().invoke(args=["mail", "dkim-key", *words])


def published(output: str) -> dict[str, str]:
    """Return the record as pasted from the zone file's line, and check that the one for a form says the same."""
    name, strings = re.search(r"^(\S+)\. IN TXT \( (.+) \)$", output, re.MULTILINE).groups()  # type: ignore[union-attr]
    value = "".join(re.findall(r'"([^"]*)"', strings))
    assert f"name   {name}\nvalue  {value}\n" in output
    return {name: value}


def setting(output: str) -> str:
    return output.partition("MAIL_DKIM_KEYS=")[2].strip()


@pytest.mark.parametrize("words", [[], ["--type", "ed25519"], ["--out", "-"], ["--type", "ed25519", "--out", "-"]], ids=" ".join)
def test_what_it_prints_signs_and_verifies(run: Any, words: list[str]) -> None:
    result = run("Example.com", "s2026", *words)
    assert result.exit_code == 0
    settings = MailSettings.from_config({"MAIL_DKIM_KEYS": setting(result.output)})
    signed = Signer(map(read_key, settings.dkim_keys)).sign(SOURCE)
    assert verified(signed, published(result.output)) == ["s2026"]
    assert ("ed25519-sha256" in signed.decode()) == ("ed25519" in words)


def test_the_file_is_for_its_owner_alone_and_never_overwritten(run: Any, tmp_path: Path) -> None:
    assert setting(run("example.com", "mail").output) == f"mail:example.com:{tmp_path / 'mail.example.com.pem'}"
    path = tmp_path / "mail.example.com.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    result = run("example.com", "mail")
    assert result.exit_code == 1
    assert "mail.example.com.pem exists, and a key is never overwritten: choose another --out" in result.output
    assert path.read_bytes() == before
    assert "BEGIN" not in result.output


def test_without_a_file_the_key_is_printed_and_nothing_is_written(run: Any, tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    assert run("example.com", "mail", "--out", "-").exit_code == 0
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["not a domain", "mail"], "the domain behind the selector mail is no domain name"),
        (["example.com", "my key"], "the selector is no name for DNS"),
        (["example.com", "mail", "--type", "dsa"], "'dsa' is not one of 'rsa', 'ed25519'"),
        (["example.com", "mail", "--out", "gone/key.pem"], "gone/key.pem cannot be written: No such file or directory"),
        (["example.com"], "Missing argument 'SELECTOR'"),
    ],
)
def test_what_it_cannot_do_is_told(run: Any, words: list[str], told: str) -> None:
    result = run(*words)
    assert result.exit_code in {1, 2}
    assert told in result.output
    assert "Traceback" not in result.output


def test_without_cryptography_it_says_what_to_install(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric", None)
    result = run("example.com", "mail")
    assert (result.exit_code, result.output) == (1, "Error: DKIM needs the package cryptography: install flask-outbox[dkim]\n")


def test_an_app_without_keys_never_loads_cryptography() -> None:
    script = "import sys, flask_outbox; sys.exit('cryptography' in sys.modules or 'babel' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False, timeout=60).returncode == 0
