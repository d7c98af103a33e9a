"""A schema for the host's tables; each in a process of its own, because one process has one schema for the outbox."""

from __future__ import annotations

from typing import Any

APP = """
import sqlalchemy as sa, sys
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from flask_outbox import ConfigurationError, Email, Mail, send_email

def make(name, url, schema=None):
    app = Flask(name, root_path=".", instance_path="/tmp")
    app.config.update(SQLALCHEMY_DATABASE_URI=url, MAIL_SERVER="127.0.0.1", MAIL_PORT=@PORT@, MAIL_DEFAULT_SENDER="a@b.example")
    app.config.update(MAIL_DELIVERY="manual")
    db = SQLAlchemy(app, metadata=sa.MetaData(schema=schema))
    return app, db, Mail(app)
"""


def test_the_outbox_takes_the_schema_of_the_host_s_metadata(run_python: Any, postgresql_url: str, smtp: Any) -> None:
    printed = run_python(
        APP.replace("@PORT@", str(smtp.port)),
        f"app, db, mail = make('host', {postgresql_url!r}, 'app')",
        "User = type('User', (db.Model,), {'id': db.Column(db.Integer, primary_key=True)})",
        "with app.app_context():",
        "    with db.engine.begin() as connection: connection.execute(sa.text('CREATE SCHEMA app'))",
        "    db.create_all()",
        "    send_email('a@b.example', 'Hi', 'hello', name='susan')",
        "    db.session.add(User()); send_email('b@b.example', 'Hi', 'hello', name='susan'); db.session.commit()",
        "    db.session.add(User()); send_email('c@b.example', 'Hi', 'hello', name='susan'); db.session.rollback()",
        "    print(mail.deliver(), db.session.scalars(sa.select(Email.status)).all())",
        "    inspector = sa.inspect(db.engine)",
        "    print(sorted(inspector.get_table_names('app')), inspector.get_table_names('public'))",
        "result = app.test_cli_runner().invoke(args=['mail', 'list'])",
        "assert result.exit_code == 0, result.output",
    )
    ours = ("attempt", "audit", "audit_email", "content", "email", "health", "oauth_token", "slowdown", "worker")
    assert printed.splitlines() == ["2 ['sent', 'sent']", f"{[*(f'mail_{name}' for name in ours), 'user']} []"]
    assert sorted(accepted.recipient for accepted in smtp.accepted) == ["a@b.example", "b@b.example"]


def test_a_schema_translate_map_holds_for_every_statement(run_python: Any, postgresql_url: str, smtp: Any) -> None:
    printed = run_python(
        APP.replace("@PORT@", str(smtp.port)),
        f"engine = sa.create_engine({postgresql_url!r}, execution_options={{'schema_translate_map': {{None: 'mapped'}}}})",
        "with engine.begin() as connection: connection.execute(sa.text('CREATE SCHEMA mapped'))",
        "app = Flask('host', root_path='.', instance_path='/tmp')",
        "app.config.update(MAIL_SERVER='127.0.0.1', MAIL_PORT=" + str(smtp.port) + ", MAIL_DEFAULT_SENDER='a@b.example')",
        "app.config.update(MAIL_DELIVERY='manual')",
        "metadata = sa.MetaData()",
        "mail = Mail(app, db=engine, metadata=metadata)",
        "metadata.create_all(engine)",
        "with app.app_context():",
        "    send_email('a@b.example', 'Hi', 'hello', name='susan')",
        "    print(mail.deliver())",
        "with engine.connect() as connection:",
        "    print(connection.execute(sa.text('SELECT status FROM mapped.mail_email')).all())",
        "    print(connection.execute(sa.text('SELECT outcome FROM mapped.mail_attempt')).all())",
    )
    assert printed.splitlines() == ["1", "[('sent',)]", "[('sent',)]"]
    assert len(smtp.accepted) == 1


def test_two_schemas_in_one_process_are_refused_in_one_sentence(run_python: Any, postgresql_url: str) -> None:
    printed = run_python(
        APP.replace("@PORT@", "25"),
        f"make('first', {postgresql_url!r}, 'app')",
        f"make('same', {postgresql_url!r}, 'app')",
        "for schema in ('other', None):",
        "    try:",
        f"        make('second', {postgresql_url!r}, schema)",
        "    except ConfigurationError as error:",
        "        print(len(error.problems), error.problems[0])",
    )
    first, second = printed.splitlines()
    assert first == (
        "1 the outbox of another app in this process is in the schema app, and this one's metadata says other: "
        "use one schema for both, or two processes"
    )
    assert "says (default)" in second


def test_an_app_that_was_refused_leaves_the_schema_to_others(run_python: Any, postgresql_url: str) -> None:
    printed = run_python(
        APP.replace("@PORT@", "0"),
        "try:",
        f"    make('first', {postgresql_url!r}, 'app')",
        "except ConfigurationError as error:",
        "    print(error.problems[0][:9])",
        APP.replace("@PORT@", "25"),
        f"make('second', {postgresql_url!r}, 'other')",
    )
    assert printed == "MAIL_PORT\n"


def test_an_engine_alone_keeps_the_default_schema(run_python: Any, postgresql_url: str) -> None:
    printed = run_python(
        APP.replace("@PORT@", "25"),
        "app = Flask('plain')",
        f"Mail(app, db=sa.create_engine({postgresql_url!r}))",
        "try:",
        f"    make('second', {postgresql_url!r}, 'app')",
        "except ConfigurationError as error:",
        "    print(len(error.problems))",
    )
    assert printed == "1\n"
