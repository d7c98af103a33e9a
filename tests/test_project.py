"""Promises of the project as a whole, which no single module could keep."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest

from flasky.admin.guard import PREFIX
from flasky.config import ROOT
from flasky.mail import Email
from flasky.models import User

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flask import Flask

MODULES = sorted((ROOT / "flasky").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
REQUIRED = [
    "flasky/__init__.py",
    "templates/base.html",
    "tests/conftest.py",
    "Procfile",
    "Procfile.dev",
    "wsgi.py",
    "worker.py",
    ".env.example",
    "requirements.txt",
    "requirements-dev.txt",
    "migrations/env.py",
    "pyproject.toml",
    "Makefile",
    "docs/delivery.md",
]


def within(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def processes(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text().splitlines()
    return {process: command.strip() for process, _, command in (line.partition(":") for line in lines if line)}


@pytest.mark.parametrize("name", REQUIRED)
def test_what_people_look_for_is_there(name: str) -> None:
    assert (ROOT / name).is_file()


def test_the_procfile_names_the_processes_and_they_exist() -> None:
    assert set(processes("Procfile")) == {"web", "worker", "release"}
    assert set(processes("Procfile.dev")) >= {"web", "worker", "redis", "mailbox"}
    for command in [*processes("Procfile").values(), *processes("Procfile.dev").values()]:
        for script in re.findall(r"python (\S+\.py)", command):
            assert (ROOT / script).is_file()


@pytest.mark.parametrize("path", MODULES, ids=within)
def test_a_module_says_in_its_first_sentence_what_it_is_for(path: Path) -> None:
    first = (ast.get_docstring(tree(path)) or "").split("\n\n")[0].replace("\n", " ")
    assert re.match(r"\S.{9,}[.:]", first), first


def test_only_config_reads_the_environment() -> None:
    readers = {within(path) for path in MODULES if re.search(r"\bos\.environ|\bgetenv|from os import", path.read_text())}
    assert readers == {"flasky/config/settings.py"}


def test_every_page_under_admin_turns_a_stranger_away(make_app: Callable[..., Flask], redis_url: str) -> None:
    app = make_app(redis_url=redis_url)
    # Whoever adds a page there has nothing to remember.
    app.add_url_rule(f"{PREFIX}/new/<int:number>", view_func=lambda number: "a secret", methods=["GET", "PUT"])
    client = app.test_client()
    for method in ("GET", "HEAD", "OPTIONS"):
        answer = client.open(f"{PREFIX}/new/1", method=method)
        assert answer.status_code == 302
        assert "secret" not in answer.text


def test_every_blueprint_is_public_or_guarded(make_app: Callable[..., Flask], redis_url: str) -> None:
    app = make_app(redis_url=redis_url, flasky_dev=True)
    # The metrics ask for a token, or for a request from this machine.
    public = {"main", "auth", "bootstrap", "mailbox", "static", next(name for name in app.blueprints if "monitoring" in name)}
    guarded = {name for name in app.blueprints if name not in public}
    rules = [rule for rule in app.url_map.iter_rules() if rule.endpoint.partition(".")[0] in guarded]
    assert {rule.rule for rule in rules if not rule.rule.startswith(f"{PREFIX}/")} == set()
    assert {rule.endpoint.partition(".")[0] for rule in app.url_map.iter_rules()} <= public | guarded


def test_state_is_changed_by_post_alone(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    changing = [rule for rule in app.url_map.iter_rules() if (rule.methods or set()) - {"GET", "HEAD", "OPTIONS"}]
    of_the_desk = [rule for rule in changing if rule.endpoint.startswith("mail_desk.")]
    assert {rule.endpoint for rule in changing if rule not in of_the_desk} == {"main.index", "auth.sign_in", "auth.sign_out"}
    assert all(rule.methods == {"POST", "OPTIONS"} for rule in of_the_desk)


def test_what_flask_shell_has_at_hand(context: Flask) -> None:
    names = context.make_shell_context()
    assert {"mail", "Message", "send_email", "db", "User", "Email"} <= set(names)
    assert (names["User"], names["Email"]) == (User, Email)


def test_every_mail_has_both_halves() -> None:
    halves = {path.relative_to(ROOT) for path in (ROOT / "templates" / "mail").iterdir() if path.suffix != ".py"}
    stems = {path.stem for path in halves}
    assert stems >= {"_layout", "new_user"}
    assert halves == {
        (ROOT / "templates/mail" / f"{stem}{suffix}").relative_to(ROOT) for stem in stems for suffix in (".txt", ".html")
    }


@pytest.mark.parametrize("path", [path for path in TESTS if path.name.startswith("test_")], ids=within)
def test_the_name_of_a_test_is_a_sentence(path: Path) -> None:
    names = [node.name for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    assert [name for name in names if name.count("_") < 2] == []


def test_requirements_are_pinned() -> None:
    for path in ROOT.glob("requirements*.txt"):
        lines = [line.split("#")[0].strip() for line in path.read_text().splitlines()]
        loose = [
            line for line in lines if line and not line.startswith("-r ") and not re.fullmatch(r"[\w.\[\]-]+==[\w.]+( ?;.*)?", line)
        ]
        assert not loose, path.name


def test_no_secret_is_in_the_repository() -> None:
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()
    values = [
        line.partition("=")[2]
        for line in (ROOT / ".env.example").read_text().splitlines()
        if "SECRET" in line or "PASSWORD" in line
    ]
    assert [value for value in values if value] == []
