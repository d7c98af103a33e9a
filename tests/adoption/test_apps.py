"""Several apps in one process, and apps that are made and thrown away."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from flask_sqlalchemy import SQLAlchemy

from flask_outbox import Mail, Message, send_email
from flask_outbox.delivery import thread
from flask_outbox.testing import SmtpServer, slow
from tests.servers import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flask import Flask


def delivery_threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "mail-delivery"]


def test_each_app_sends_to_its_own_server_from_its_own_database(make_flask: Callable[..., Flask], tmp_path: Path) -> None:
    db, mail = SQLAlchemy(), Mail()
    servers, apps = [SmtpServer(), SmtpServer()], []
    for number, server in enumerate(servers):
        server.__enter__()
        app = make_flask(
            f"app{number}",
            SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / f'{number}.sqlite3'}",
            MAIL_PORT=server.port,
            MAIL_DEFAULT_SENDER=f"app{number}@b.example",
        )
        db.init_app(app)
        mail.init_app(app)
        apps.append(app)
    for number, app in enumerate(apps):
        with app.app_context():
            db.create_all()
            send_email(f"user{number}@b.example", "Hi", "hello", name="susan")
            mail.send(Message("At once", [f"direct{number}@b.example"], "text"))
    with apps[0].app_context(), apps[1].app_context():
        assert mail.deliver() == 1
    with apps[0].app_context():
        assert mail.deliver() == 1
    for number, (app, server) in enumerate(zip(apps, servers, strict=True)):
        assert [one.recipient for one in server.accepted] == [f"direct{number}@b.example", f"user{number}@b.example"]
        assert {one.sender for one in server.accepted} == {f"app{number}@b.example"}
        with app.app_context():
            db.session.remove()
            db.engine.dispose()
        server.stop()


def test_an_app_that_is_bound_twice_has_one_thread(make_flask: Callable[..., Flask], tmp_path: Path) -> None:
    app = make_flask(SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / 'host.sqlite3'}", MAIL_DELIVERY="thread")
    db = SQLAlchemy(app)
    mail = Mail(app)
    mail.init_app(app)
    with app.app_context():
        db.create_all()
    app.test_client().get("/")
    assert len(delivery_threads()) == 1
    app.extensions["mail"].bell.stop()
    with app.app_context():
        db.engine.dispose()


def make_and_use(make_flask: Callable[..., Flask], path: Path, smtp: SmtpServer, number: int) -> weakref.ref[Flask]:
    app = make_flask(f"app{number}", SQLALCHEMY_DATABASE_URI=f"sqlite:///{path / f'{number}.sqlite3'}", MAIL_DELIVERY="thread")
    db = SQLAlchemy(app)
    Mail(app)
    app.add_url_rule("/", view_func=lambda: send_email("a@b.example", "Hi", "hello", name="susan").recipient)
    with app.app_context():
        db.create_all()
    assert app.test_client().get("/").status_code == 200
    smtp.wait_for(number + 1)
    with app.app_context():
        db.engine.dispose()
    return weakref.ref(app)


def test_an_app_that_is_thrown_away_leaves_no_thread(
    make_flask: Callable[..., Flask], tmp_path: Path, smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread, "SWEEP_EVERY", 0.2)
    apps = [make_and_use(make_flask, tmp_path, smtp, number) for number in range(20)]
    gc.collect()
    assert [app for app in apps if app() is not None] == []
    wait_until(lambda: delivery_threads() == [], what="the end of the threads")
    assert len(smtp.accepted) == 20


def test_the_end_of_the_process_lets_the_email_on_the_wire_finish(host_process: Any, smtp: SmtpServer) -> None:
    smtp.on("DOT", slow(1.0))
    host = host_process(
        "import time\n"
        "from flask import Flask\n"
        "from flask_outbox import Mail, send_email\n"
        "from flask_sqlalchemy import SQLAlchemy\n"
        "app = Flask(__name__)\n"
        "app.config.update(SQLALCHEMY_DATABASE_URI='sqlite:///app.sqlite3', MAIL_DEFAULT_SENDER='a@b.example')\n"
        "app.config.from_prefixed_env()\n"
        "db = SQLAlchemy(app)\n"
        "Mail(app)\n"
        "with app.app_context():\n"
        "    db.create_all()\n"
        "    if __name__ == '__main__':\n"
        "        send_email('a@b.example', 'Hi', 'hello', name='susan')\n"
        "        time.sleep(0.3)\n"
    )
    begun = time.monotonic()
    host.run("python", "app.py")
    assert time.monotonic() - begun < 10
    assert len(smtp.accepted) == 1
    assert " sent " in host.run("flask", "mail", "list")
