"""Times the desk's pages over a large outbox: ``python -m bench.desk_pages DATABASE_URL``, filled by ``bench.desk``."""

from __future__ import annotations

import argparse
import re
import sys
import time
from typing import Any

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase

from bench.samples import Samples
from flask_outbox import Mail
from flask_outbox.desk import desk

ROUNDS = 20
MOST_MS = 150.0
SEARCHES = (
    "",
    "status:failed",
    "status:held",
    "-status:sent",
    "status:failed,expired",
    "to:susan77@example27.com",
    "to:susan77@",
    "template:mail/reset",
    "status:failed template:mail/reset",
    'failure:"550 5.1.1 user unknown"',
    'failure:"550 5.1.1 user unknown" -template:mail/reset',
    "invoice",
    "nosuchword",
    "größe",
    "status:failed nosuchword",
    "-invoice status:queued",
    "request:request-5000",
    "reply:mailbox",
    "after:2d",
    "after:60d before:59d",
    "before:80d nosuchword",
    "key:none",
    "id:5,7",
)
PAGES = ("/outbox/?q={}", "/outbox/?below=500000&q={}", "/outbox/?above=500000&q={}", "/outbox/new/?seen=999950&floor=999950&q={}")
ACTIONS = ("/actions/preview/?action=retry&q={}", "/outbox/count/?q={}")


class Base(DeclarativeBase):
    """The host's models: none."""


def make_app(url: str) -> Flask:
    """Return a host with a desk."""
    app = Flask(__name__)
    app.config.update(SECRET_KEY="for the benchmark", SQLALCHEMY_DATABASE_URI=url, MAIL_DELIVERY="manual")  # noqa: S106
    db = SQLAlchemy(app, model_class=Base)
    Mail(app, db)
    app.register_blueprint(desk(lambda *_: True), url_prefix="/desk")
    app.url_build_error_handlers.append(lambda *_: "/desk/elsewhere/")
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            sa.event.listen(db.engine, "connect", _as_the_site)
    return app


def _as_the_site(connection: Any, _: Any) -> None:
    for pragma in ("journal_mode = WAL", "cache_size = -500"):
        connection.execute(f"PRAGMA {pragma}")


def main() -> None:
    """Time each page with each search, and exit with 1 if one is too slow."""
    parser = argparse.ArgumentParser(prog="python -m bench.desk_pages", description="Time the desk's pages over a large outbox.")
    parser.add_argument("url", help="a database that python -m bench.desk has filled")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    client = make_app(arguments.url).test_client()
    samples: dict[str, Samples] = {}
    for _ in range(arguments.rounds):
        for page in (*PAGES, *ACTIONS):
            for line in SEARCHES:
                began = time.perf_counter()
                response = client.get("/desk" + re.sub(r"\{\}", lambda _, line=line: line.replace("&", "%26"), page))
                took = (time.perf_counter() - began) * 1000
                if response.status_code != 200:  # noqa: PLR2004 - OK
                    sys.exit(f"{page} with {line}: {response.status_code}")
                samples.setdefault(page, Samples()).values.append(took)
                samples.setdefault(line, Samples()).values.append(took)
    for name, of_one in samples.items():
        print(f"{name or '(everything)':70}  median {of_one.median:6.1f} ms   95 % {of_one.percentile(95):6.1f} ms")
    sys.exit(max(samples[page].percentile(95) for page in (*PAGES, *ACTIONS)) > MOST_MS)


if __name__ == "__main__":
    main()
