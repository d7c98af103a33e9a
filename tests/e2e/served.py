"""Apps that a browser can visit: ``served`` serves any app on loopback, ``DeskHost`` is one with a desk."""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase
from werkzeug.serving import make_server

from flask_outbox import Mail
from flask_outbox.desk import desk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def served(app: Flask) -> Iterator[str]:
    """Serve *app* on a port of its own, and return its URL."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


class DeskHost:
    """An app in *folder* with a desk under ``/desk``, where everybody may do everything; *config* adds to its configuration.

    It is served by ``start``, until ``stop``. ``asked`` are the paths that were asked for.
    """

    def __init__(self, folder: Path, **config: Any) -> None:
        self.app = Flask(__name__, root_path=str(folder), instance_path=str(folder))
        self.app.config.update(
            SECRET_KEY="a key for tests alone",
            SQLALCHEMY_DATABASE_URI=f"sqlite:///{folder / 'host.sqlite3'}",
            MAIL_DEFAULT_SENDER="host@example.com",
            MAIL_DELIVERY="manual",
        )
        self.app.config.update(config)

        class Base(DeclarativeBase):
            pass

        self.db = SQLAlchemy(self.app, model_class=Base)
        Mail(self.app, self.db)
        pages = desk(lambda action, email: True, who=lambda: "susan", to_me=lambda: "operator@example.com")
        self.app.register_blueprint(pages, url_prefix="/desk")
        self.asked: list[str] = []
        self.app.before_request(lambda: self.asked.append(request.path))
        with self.app.app_context():
            self.db.create_all()
        self._open = ExitStack()
        self.url = ""

    def start(self) -> None:
        """Serve the app at ``url``."""
        self.url = self._open.enter_context(served(self.app))

    def stop(self) -> None:
        """End the server, and close the database."""
        self._open.close()
        with self.app.app_context():
            self.db.session.remove()
            self.db.engine.dispose()

    @contextmanager
    def session(self) -> Iterator[Any]:
        """Give a session, and commit it."""
        with self.app.app_context():
            yield self.db.session
            self.db.session.commit()
