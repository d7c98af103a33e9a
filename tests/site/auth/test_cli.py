"""``flask users create``: an account with a password that is asked for, or made up and printed once."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flasky.auth.accounts import authenticate
from flasky.extensions import db
from flasky.models import User
from tests.servers import ROOT
from tests.site.visiting import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from tests.servers import Site


def create(runner: Any, *arguments: str, password: str = PASSWORD, again: str | None = None) -> Any:
    typed = f"{password}\n{password if again is None else again}\n"
    return runner.invoke(args=["users", "create", *arguments], input=typed)


@pytest.mark.parametrize(("flags", "is_admin"), [([], False), (["--admin"], True)])
def test_an_account_is_made_and_its_password_is_not_printed(app: Flask, runner: Any, flags: list[str], is_admin: bool) -> None:
    done = create(runner, "Susan@Example.com", *flags)
    assert done.exit_code == 0, done.output
    assert "susan@example.com can sign in" in done.output
    assert PASSWORD not in done.output
    with app.app_context():
        user = authenticate("susan@example.com", PASSWORD)
        assert user is not None
        assert user.is_admin is is_admin


def test_only_scrypts_hash_is_kept(app: Flask, runner: Any) -> None:
    create(runner, "susan@example.com")
    with app.app_context():
        kept = db.session.scalar(sa.select(User.password_hash))
    assert kept is not None
    assert kept.startswith("scrypt:")
    assert len(kept) <= User.__table__.c.password_hash.type.length


def test_an_empty_password_is_made_up_and_printed_once(app: Flask, runner: Any) -> None:
    done = create(runner, "susan@example.com", password="")
    (password,) = re.findall(r"with the password (\S{20,})", done.output)
    assert done.output.count(password) == 1
    with app.app_context():
        assert authenticate("susan@example.com", password)


@pytest.mark.parametrize(
    ("arguments", "password", "sentence"),
    [
        (["no address"], PASSWORD, "@-sign"),
        (["two@example.com,three@example.com"], PASSWORD, ""),
        (["susan@example.com"], "short", "too short: use at least 10 characters"),
    ],
)
def test_a_mistake_is_explained_and_nothing_is_made(
    app: Flask, runner: Any, arguments: list[str], password: str, sentence: str
) -> None:
    done = create(runner, *arguments, password=password)
    assert done.exit_code == 1
    assert done.output.splitlines()[-1].startswith("Error: ")
    assert sentence in done.output
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(User)) == 0


def test_a_second_account_for_one_address_is_refused(runner: Any) -> None:
    create(runner, "susan@example.com")
    done = create(runner, "SUSAN@example.com")
    assert done.exit_code == 1
    assert "susan@example.com already has an account" in done.output


def test_the_password_has_to_be_typed_twice_alike(app: Flask, runner: Any) -> None:
    done = create(runner, "susan@example.com", again="something else")
    assert done.exit_code == 1
    with app.app_context():
        assert db.session.scalar(sa.select(User.id)) is None


@pytest.mark.parametrize("command", [["users", "create", "susan@example.com"], ["db", "upgrade"]])
def test_a_database_that_cannot_be_used_is_told_in_one_line(site: Callable[..., Site], command: list[str]) -> None:
    env = site(DATABASE_URL="postgresql://127.0.0.1:1/nothing").env
    done = subprocess.run(
        ["flask", *command], env=env, cwd=ROOT, input="\n\n", capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "the database cannot be used: connection failed" in done.stderr
    assert "Traceback" not in done.stderr
