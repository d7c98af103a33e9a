"""What the documentation shows works: its programs run, and every name in it exists."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import fields
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_outbox.settings import MailSettings
from flask_outbox.store.models import Attempt, Email
from flasky.config import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flask import Flask

    from flask_outbox.testing import SmtpServer

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)]
# A block with a caption is a file; without one, it is a part of a program.
FILE = re.compile(r"^```\{code-block\} [\w+]+\n:caption: (\S+)\n\n(.*?)^```", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"^```(?:python|\{code-block\} python)\n(?::.*\n)*\n?(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"flask mail ([a-z][a-z-]*)([^\n`|]*)")
# Settings of Flask-Mail that have no effect here; the guide says so.
WITHOUT_EFFECT = {"MAIL_ASCII_ATTACHMENTS"}

# Posts to a path, and lives on until the test has seen the mail: its background thread delivers.
POST = "import sys; from app import app; print(app.test_client().post(sys.argv[1]).status_code, flush=True); input()"


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@contextmanager
def posted(page: str, path: str, folder: Path, smtp: SmtpServer) -> Iterator[str]:
    """Write the files of a page into *folder*, run its app, post to *path*, and give what the app answered."""
    for name, text in FILE.findall((DOCS / page).read_text()):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("1025", str(smtp.port)))
    process = subprocess.Popen(
        [sys.executable, "-c", POST, path],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.communicate("\n", timeout=20)
    assert process.returncode == 0


@pytest.mark.parametrize("page", ["quickstart.md", "guides/databases.md"])
def test_the_program_that_adds_a_user_sends_its_mail(page: str, tmp_path: Path, smtp: SmtpServer) -> None:
    with posted(page, "/users/susan", tmp_path, smtp) as status:
        assert status == "201"
        (email,) = smtp.wait_for(1)
    assert email.recipient == "admin@example.com"
    assert "User susan has joined." in email.source.decode()
    assert "<strong>susan</strong>" in email.source.decode()


@pytest.mark.parametrize(("path", "recipients"), [("/welcome", ["susan"]), ("/digest", ["susan", "david"])])
def test_flask_mails_calls_send_before_they_return(path: str, recipients: list[str], tmp_path: Path, smtp: SmtpServer) -> None:
    with posted("guides/from-flask-mail.md", path, tmp_path, smtp) as status:
        assert status == "200"
        assert [email.recipient for email in smtp.accepted] == [f"{name}@example.com" for name in recipients]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_python_example_can_be_compiled_and_imports_what_exists(page: Path) -> None:
    for code in PYTHON.findall(page.read_text()):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("flask_outbox"):
                module = import_module(node.module or "")
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_and_option_exists(page: Path, app: Flask) -> None:
    group: Any = app.cli.commands["mail"]
    for name, rest in COMMAND.findall(page.read_text()):
        assert name in group.commands, f"flask mail {name}"
        options = {option for parameter in group.commands[name].params for option in parameter.opts}
        named = re.findall(r"(?<=\s)--?[a-z][a-z-]*", rest.partition("#")[0])
        assert set(named) <= options, f"flask mail {name}{rest}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_setting_exists(page: Path) -> None:
    known = {f"MAIL_{setting.name.upper()}" for setting in fields(MailSettings)}
    named = set(re.findall(r"\bMAIL_[A-Z_]*[A-Z]\b", page.read_text()))
    assert named <= known | WITHOUT_EFFECT


def test_the_fields_of_an_email_and_an_attempt_exist() -> None:
    tables = [part.partition("\n\n")[0] for part in (DOCS / "api.md").read_text().split("| field | meaning |\n|---|---|\n")[1:]]
    for model, table in zip((Email, Attempt), tables, strict=True):
        named = [name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])]
        mapped = sa.inspect(model)
        assert [name for name in named if name not in mapped.all_orm_descriptors and not hasattr(model, name)] == []


def test_the_modules_that_an_email_passes_exist() -> None:
    named = re.findall(r"`(\w+/\w+\.py|\w+\.py)`", (DOCS / "journey.md").read_text())
    assert named
    assert [name for name in named if not (ROOT / "flask_outbox" / name).is_file()] == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_the_links_to_files_lead_somewhere(name: str) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / name).read_text())
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
