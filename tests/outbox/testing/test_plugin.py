"""The plugin in a suite of somebody else's, run by a pytest of its own."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.servers import ROOT

if TYPE_CHECKING:
    from pathlib import Path

APP = """
import pytest
from tests.outbox.testing.host import create_app, db, greet

@pytest.fixture
def app():
    return create_app("sqlite://")
"""
# By its module, whether or not the package is installed and its entry point with it.
PLUGIN = ("-p", "no:flask_outbox", "-p", "flask_outbox.testing.plugin")


def run(folder: Path, conftest: str, tests: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a suite of two files, with warnings as errors."""
    (folder / "conftest.py").write_text(conftest)
    (folder / "test_host.py").write_text(tests)
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    command = [sys.executable, "-X", "faulthandler", "-m", "pytest", *PLUGIN, "-p", "no:cacheprovider", *options, str(folder)]
    env = {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_a_suite_gets_the_fixture_and_an_empty_outbox_for_each_test(tmp_path: Path) -> None:
    """The app and its database serve all tests of the suite."""
    shared = APP.replace("@pytest.fixture", '@pytest.fixture(scope="session")')
    tests = """
import pytest

@pytest.mark.parametrize("name", ["susan", "ann"])
def test_a_new_user_is_welcomed(app, outbox, name):
    assert not outbox
    app.test_client().post(f"/users/{name}")
    assert outbox.to(f"{name}@example.com").one().context == {"name": name}
    assert outbox.deliver() == 1
"""
    ran = run(tmp_path, shared, tests)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "2 passed" in ran.stdout


def test_a_failed_assertion_says_which_emails_there_are(tmp_path: Path) -> None:
    tests = """
def test_bye(app, outbox):
    app.test_client().post("/users/ann")
    assert outbox.from_template("mail/bye")

def test_susan(app, outbox):
    app.test_client().post("/users/ann")
    outbox.to("susan@example.com").one()
"""
    ran = run(tmp_path, APP, tests)
    there = "there are: 'Welcome, ann' to ann@example.com from mail/welcome"
    assert f"assert <no email from mail/bye; {there}>" in ran.stdout
    assert f"AssertionError: no email to susan@example.com; {there}" in ran.stdout


WRONG = [
    ("", "there is none"),
    ("import pytest\n@pytest.fixture\ndef app():\n    return 'app'\n", "yours returns str"),
    (
        "import flask, pytest\n@pytest.fixture\ndef app():\n    return flask.Flask('bare')\n",
        "call mail.init_app(app) with the Mail of flask_outbox",
    ),
]


@pytest.mark.parametrize(("conftest", "said"), WRONG)
def test_a_suite_without_a_usable_app_is_told_what_is_missing(tmp_path: Path, conftest: str, said: str) -> None:
    ran = run(tmp_path, conftest, "def test_it(outbox):\n    pass\n")
    assert ran.returncode == 1
    assert "the fixture outbox needs a fixture named app" in ran.stdout
    assert said in ran.stdout


def test_an_app_fixture_that_fails_for_another_reason_is_not_explained_away(tmp_path: Path) -> None:
    conftest = "import pytest\n@pytest.fixture\ndef app(other):\n    pass\n"
    ran = run(tmp_path, conftest, "def test_it(outbox):\n    pass\n")
    assert "fixture 'other' not found" in ran.stdout
    assert "needs a fixture named app" not in ran.stdout


QUIET = """
import threading

def pytest_sessionfinish(session):
    left = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    assert not left, left
"""


@pytest.mark.parametrize("scope", ["function", "session"])
def test_an_ordinary_suite_on_a_database_in_memory_neither_crashes_nor_leaves_a_thread(tmp_path: Path, scope: str) -> None:
    """One connection serves all threads there: a background thread that began by itself would crash the driver."""
    conftest = APP.replace("@pytest.fixture", f'@pytest.fixture(scope="{scope}")') + QUIET
    tests = """
import pytest
from sqlalchemy.pool import StaticPool

@pytest.mark.parametrize("number", range(30))
def test_a_user(app, number):
    with app.app_context():
        assert isinstance(db.engine.pool, StaticPool)
    assert app.test_client().post(f"/users/user{number}").status_code == 200
"""
    ran = run(tmp_path, conftest, "from tests.outbox.testing.host import db\n" + tests)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "30 passed" in ran.stdout
