"""The package in an app that is not ours: another database object, other models, nothing of the site."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from flask import Flask
from flask_migrate import Migrate, migrate, upgrade
from flask_migrate import init as init_migrations
from flask_sqlalchemy import SQLAlchemy

from flask_outbox import Email, InvalidMessage, Mail, Message, Status, send_email

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask_outbox.testing import SmtpServer

ROOT = Path(__file__).resolve().parents[2]
NAMING = {
    "ix": "i_%(column_0_label)s",
    "uq": "u_%(table_name)s_%(column_0_name)s",
    "fk": "f_%(table_name)s_%(column_0_name)s",
    "pk": "p_%(table_name)s",
}


@pytest.fixture
def naming() -> dict[str, str]:
    return {}


@pytest.fixture
def lifted(naming: dict[str, str], tmp_path: Path, smtp: SmtpServer, database_url: str) -> Iterator[tuple[Flask, Any]]:
    """Return somebody else's minimal app, and its database object."""
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "hello.txt").write_text("Hello {{ user.name }}!")
    (folder / "hello.html").write_text("<p>Hello {{ user.name }}!")
    app = Flask("other", template_folder=str(folder), root_path=str(tmp_path), instance_path=str(tmp_path))
    app.config["SQLALCHEMY_DATABASE_URI"] = database_url.replace("postgresql://", "postgresql+psycopg://")
    app.config |= {
        "MAIL_SERVER": "127.0.0.1",
        "MAIL_PORT": smtp.port,
        "MAIL_DEFAULT_SENDER": "Other <other@b.example>",
        "MAIL_DELIVERY": "inline",
    }
    db = SQLAlchemy(metadata=sa.MetaData(naming_convention=naming or None))
    db.init_app(app)
    Mail().init_app(app)
    Migrate(app, db, directory=str(tmp_path / "migrations"))
    with app.app_context():
        yield app, db
        db.session.remove()
        db.engine.dispose()


def make_person(db: Any) -> Any:
    return type("Person", (db.Model,), {"id": db.Column(db.Integer, primary_key=True), "name": db.Column(db.String(50))})


def test_an_email_goes_out_with_the_other_app_s_data(lifted: tuple[Flask, Any], smtp: SmtpServer) -> None:
    _, db = lifted
    person = make_person(db)
    db.create_all()
    susan = person(name="susan")
    db.session.add(susan)
    email = send_email("a@b.example", "Hi", "hello", user=susan)
    assert smtp.accepted == []
    db.session.commit()
    (accepted,) = smtp.accepted
    assert accepted.message["From"] == "Other <other@b.example>"
    assert accepted.message["Subject"] == "Hi"
    assert "Hello susan!" in accepted.source.decode()
    db.session.expire_all()
    assert (email.status, email.tries) == (Status.SENT, 1)
    assert db.session.scalars(sa.select(Email)).all() == [email]


def test_a_rollback_and_a_bad_address_leave_nothing(lifted: tuple[Flask, Any], smtp: SmtpServer) -> None:
    _, db = lifted
    person = make_person(db)
    db.create_all()
    db.session.add(person(name="susan"))
    send_email("a@b.example", "Hi", "hello", user=person(name="susan"))
    db.session.rollback()
    with pytest.raises(InvalidMessage):
        send_email("nobody", "Hi", "hello", user=person(name="susan"))
    with pytest.raises(InvalidMessage):
        send_email("a@b.example", "Hi", "hello")
    assert db.session.scalars(sa.select(Email)).all() == []
    assert smtp.accepted == []


def test_flask_mail_s_own_send_works_too(lifted: tuple[Flask, Any], smtp: SmtpServer) -> None:
    app, _ = lifted
    Mail(app).send(Message("Hi", ["a@b.example"], "text"))
    assert len(smtp.accepted) == 1


def test_its_commands_are_there(lifted: tuple[Flask, Any]) -> None:
    app, db = lifted
    assert "no tables yet" in app.test_cli_runner().invoke(args=["mail", "list"]).output
    db.session.rollback()
    db.create_all()
    assert app.test_cli_runner().invoke(args=["mail", "list"]).exit_code == 0


@pytest.mark.parametrize("naming", [{}, NAMING], ids=["plain", "naming convention"])
@pytest.mark.filterwarnings("ignore:'get_engine' is deprecated:DeprecationWarning")  # Flask-Migrate's own env.py
def test_a_stock_migration_makes_the_tables_and_then_sees_no_difference(
    lifted: tuple[Flask, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The stock env.py sets up logging anew, which switches off every logger that is there, for the tests to come as well.
    monkeypatch.setattr("logging.config.fileConfig", lambda _: None)
    _, db = lifted
    make_person(db)
    init_migrations()
    migrate(message="first")
    (script,) = (tmp_path / "migrations" / "versions").glob("*.py")
    assert "flasky" not in script.read_text(), "a migration needs no import of ours"
    upgrade()
    with db.engine.connect() as connection:
        assert {"mail_email", "mail_content", "mail_attempt"} <= set(sa.inspect(connection).get_table_names())
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, db.metadata) == []
    migrate(message="second")
    assert len(list((tmp_path / "migrations" / "versions").glob("*.py"))) == 1, "an empty migration was written"


@pytest.mark.filterwarnings("ignore:'get_engine' is deprecated:DeprecationWarning")  # as above
def test_a_generated_migration_brings_the_tables_of_0_2_up_to_date_with_their_rows(
    lifted: tuple[Flask, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("logging.config.fileConfig", lambda _: None)
    app, db = lifted
    person = make_person(db)
    db.create_all()
    send_email("Susan@b.example", "Hi", "hello", user=person(name="susan"))
    db.session.close()
    with db.engine.begin() as connection:
        for statement in (
            "DROP INDEX ix_mail_email_recipient",
            "ALTER TABLE mail_email DROP COLUMN recipient_lower",
            "CREATE INDEX ix_mail_email_recipient ON mail_email (recipient, id)",
        ):
            connection.exec_driver_sql(statement)
    init_migrations()
    migrate()
    upgrade()
    with db.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), db.metadata) == []
    assert app.test_cli_runner().invoke(args=["mail", "check"]).exit_code == 0
    assert "Susan@b.example" in app.test_cli_runner().invoke(args=["mail", "why", "susan@b.example"]).output


@pytest.mark.parametrize("naming", [{}, NAMING], ids=["plain", "naming convention"])
def test_what_create_all_makes_differs_from_no_model(lifted: tuple[Flask, Any]) -> None:
    _, db = lifted
    make_person(db)
    db.create_all()
    with db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "target_metadata": db.metadata})
        assert compare_metadata(context, db.metadata) == []


def test_two_apps_may_share_the_objects(lifted: tuple[Flask, Any], tmp_path: Path, smtp: SmtpServer) -> None:
    app, db = lifted
    db.create_all()
    other = Flask("second", template_folder=app.template_folder, root_path=str(tmp_path))
    other.config.from_mapping(app.config)
    db.init_app(other)
    Mail().init_app(other)
    with other.app_context():
        send_email("a@b.example", "Hi", "hello", user={"name": "susan"})
        assert len(smtp.accepted) == 1
        db.session.remove()
        db.engine.dispose()


def test_it_imports_nothing_of_the_site() -> None:
    for file in (ROOT / "flask_outbox").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in getattr(node, "names", ())]
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert not [name for name in names if name.startswith("flasky")], file.name


def test_it_runs_under_any_name_where_the_site_is_not(tmp_path: Path) -> None:
    """The folder alone, under another name: nothing in it knows what it is called."""
    (tmp_path / "borrowed").symlink_to(ROOT / "flask_outbox", target_is_directory=True)
    script = (
        "import sys, borrowed, borrowed.delivery.rq_worker as it; "
        "assert 'flasky' not in sys.modules and 'flask_outbox' not in sys.modules; print(borrowed.send_email.__name__, it.JOB)"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert (result.returncode, result.stdout) == (0, "send_email borrowed.delivery.rq_worker.deliver_mail\n"), result.stderr
