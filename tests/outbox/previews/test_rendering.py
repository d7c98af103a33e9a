"""A mail is rendered with its sample data, and nothing that the sample data does survives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from flask import Blueprint, Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import scoped_session, sessionmaker

from flask_outbox import InvalidMessage, Mail
from flask_outbox.previews.mails import find_mail, find_mails
from flask_outbox.previews.rendering import render_preview
from flask_outbox.previews.samples import read_samples
from flask_outbox.state import current_state
from flasky.extensions import db
from flasky.models import User

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flask_mail import Message

IMPORTS = "from flasky.models import User\nfrom flasky.extensions import db\nfrom flasky.mail import *\nimport sqlalchemy as sa\n"


def render(app: Flask, name: str, variant: str | None = None) -> Message:
    mail = find_mail(app, "mail", name)
    samples = read_samples(mail)
    return render_preview(current_state(), mail, samples, samples.variant(variant))


def people() -> int:
    with db.engine.connect() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(User.__table__)) or 0


def emails() -> int:
    with db.engine.connect() as connection:
        return connection.scalar(sa.text("SELECT count(*) FROM mail_email")) or 0


def test_a_mail_is_rendered_with_each_variant(quiet: Flask, write: Callable[..., None]) -> None:
    sample = """
subject = "Hi {{ name }} & Co"
def default():
    return {"name": "Zoë"}
def other():
    'Another.'
    return {"name": "<b>"}
"""
    write("mail/hello", "Hello {{ name }}", "<p>{{ name }}</p>", sample)
    first, second = render(quiet, "mail/hello"), render(quiet, "mail/hello", "other")
    assert (first.subject, first.body, first.html) == ("[Flasky] Hi Zoë & Co", "Hello Zoë", "<p>Zoë</p>")
    assert (second.subject, second.body, second.html) == ("[Flasky] Hi <b> & Co", "Hello <b>", "<p>&lt;b&gt;</p>")
    variants = read_samples(find_mail(quiet, "mail", "mail/hello")).variants
    assert [(variant.name, variant.description) for variant in variants] == [("default", ""), ("other", "Another.")]


def test_a_variant_may_be_a_message_of_its_own(quiet: Flask, write: Callable[..., None]) -> None:
    sample = """
def default():
    message = compose("a@example.com", "Invoice", "mail/invoice")
    message.attach("a.pdf", "application/pdf", b"x")
    return message
"""
    write("mail/invoice", sample=IMPORTS + sample)
    message = render(quiet, "mail/invoice")
    assert (message.subject, len(message.attachments)) == ("[Flasky] Invoice", 1)


@pytest.mark.parametrize(
    "line",
    [
        'db.session.add(User(username="sample"))',
        'db.session.add(User(username="sample")); db.session.flush()',
        'db.session.execute(sa.insert(User).values(username="sample", is_admin=False))',
        'db.session.add(User(username="sample")); send_email("a@example.com", "Hi", "mail/new_user", user=User(username="x"))',
    ],
)
def test_nothing_that_a_sample_adds_survives(quiet: Flask, write: Callable[..., None], line: str) -> None:
    sample = f"{IMPORTS}def default():\n  {line}\n  return {{'user': db.session.scalar(sa.select(User)), 'number': 1}}"
    write("mail/stored", "{{ user.username }}", "<p>{{ user.username }}</p>", sample)
    assert render(quiet, "mail/stored").body == "sample"
    assert (people(), emails()) == (0, 0)


@pytest.mark.parametrize(
    "line",
    [
        'db.session.add(User(username="sample")); db.session.commit()',
        'send_email("a@example.com", "Hi", "mail/new_user", user=User(username="x"))',
        'with db.engine.begin() as c: c.execute(sa.insert(User).values(username="sample", is_admin=False))',
    ],
)
def test_a_commit_is_refused(quiet: Flask, write: Callable[..., None], line: str) -> None:
    write("mail/stored", sample=f"{IMPORTS}def default():\n  {line}\n  return {{}}")
    with pytest.raises(InvalidMessage, match=r"use db\.session\.flush\(\)"):
        render(quiet, "mail/stored")
    assert (people(), emails()) == (0, 0)
    db.session.add(User(username="susan"))
    db.session.commit()
    assert people() == 1


def test_the_work_of_the_caller_is_left_alone(quiet: Flask, write: Callable[..., None]) -> None:
    write("mail/hello")
    susan = User(username="susan")
    db.session.add(susan)
    render(quiet, "mail/hello")
    db.session.commit()
    assert (people(), susan.username) == (1, "susan")


@pytest.mark.parametrize(
    ("sample", "told"),
    [
        ("def default(:\n", r"the sample data fails \(stored\.py, line 1\): SyntaxError"),
        ("x = 1 / 0\n", r"the sample data fails \(stored\.py, line 1\): ZeroDivisionError: division by zero"),
        ("def default():\n  x = 1\n  return missing", r"the sample data fails \(stored\.py, line 3\): NameError"),
        ("def default():\n  return 1", r"default\(\) in stored\.py returned int: return a dict, or a Message"),
        ("def _private(): pass", r"has no variant: define a function"),
        ("from os.path import join", r"has no variant: define a function"),
        ('subject = "{{ x"\ndef default(): return {}', r"the subject in the sample data is broken in line 1"),
        ('subject = "{{ x }}"\ndef default(): return {}', r"the subject in the sample data uses a variable that was not given"),
    ],
)
def test_a_mistake_in_the_sample_data_is_one_sentence(quiet: Flask, write: Callable[..., None], sample: str, told: str) -> None:
    write("mail/stored", sample=sample)
    with pytest.raises(InvalidMessage, match=told):
        render(quiet, "mail/stored")


def test_the_mails_of_an_app_are_found_in_its_folders_and_its_blueprints(tmp_path: Path) -> None:
    for name in (
        "app/mail/a.txt",
        "app/mail/_layout.txt",
        "app/mail/_parts/b.html",
        "app/other.txt",
        "app/mail/half.html",
        "app/mail/x.css",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    for name in (
        "shop/mail/a.html",
        "shop/mail/a.txt",
        "shop/mail/shop/order.txt",
        "shop/mail/shop/order.html",
        "shop/mail/shop/order.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    app = Flask("other", root_path=str(tmp_path), template_folder="app")
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    app.config["MAIL_DELIVERY"] = "manual"
    Mail(app, SQLAlchemy(app))
    app.register_blueprint(Blueprint("shop", "shop", root_path=str(tmp_path), template_folder="shop"))
    mails = {mail.name: mail for mail in find_mails(app, "mail")}
    assert list(mails) == ["mail/a", "mail/half", "mail/shop/order"]
    assert mails["mail/a"].files[".txt"] == tmp_path / "app/mail/a.txt"
    assert mails["mail/half"].sample_path == tmp_path / "app/mail/half.py"
    assert mails["mail/shop/order"].sample == tmp_path / "shop/mail/shop/order.py"
    assert find_mails(app, "nothing") == []


def test_a_mail_that_does_not_exist_names_those_that_do(quiet: Flask) -> None:
    with pytest.raises(InvalidMessage, match=r"there is no mail 'mail/nothing': the app has mail/new_user"):
        render(quiet, "mail/nothing")


def test_a_variant_that_does_not_exist_names_those_that_do(quiet: Flask) -> None:
    with pytest.raises(InvalidMessage, match=r"there is no variant 'x': the sample data has default, long_name"):
        render(quiet, "mail/new_user", "x")


def test_a_session_that_outlives_the_context_is_rolled_back_too(tmp_path: Path, database_url: str) -> None:
    engine = sa.create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    Session = scoped_session(sessionmaker(engine))  # noqa: N806 - SQLAlchemy's own form
    (tmp_path / "templates/mail").mkdir(parents=True)
    for name, source in (("a.txt", "{{ n }}"), ("a.html", "{{ n }}"), ("a.py", PLAIN)):
        (tmp_path / "templates/mail" / name).write_text(source)
    app = Flask("plain", root_path=str(tmp_path))
    app.config |= {"MAIL_DELIVERY": "manual", "MAIL_DEFAULT_SENDER": "a@example.com", "SESSION": Session}
    Mail(app, db=Session)
    with app.app_context():
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE t (n INTEGER)")
        assert render(app, "mail/a").body == "1"
        assert Session.scalar(sa.text("SELECT count(*) FROM t")) == 0
    Session.remove()
    engine.dispose()


PLAIN = """
from flask import current_app
import sqlalchemy as sa

def default():
    session = current_app.config["SESSION"]
    session.execute(sa.text("INSERT INTO t VALUES (1)"))
    return {"n": session.scalar(sa.text("SELECT count(*) FROM t"))}
"""
