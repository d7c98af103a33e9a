"""Who runs against whom: how each contender's tables are made, which processes deliver, and where its letters wait."""

from __future__ import annotations

from dataclasses import dataclass

PYTHON = "python"
MIGRATE_DJANGO = (PYTHON, "-m", "django", "migrate", "--settings", "bench.peers.settings", "--verbosity", "0")


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One way to send mail.

    *module* enqueues (see bench.producer) and *worker* is the command that delivers; where there is no queue, *worker* sends
    by itself, and is given the first number and the count. *store* is where letters wait.
    """

    name: str
    worker: tuple[str, ...]
    module: str = ""
    store: str = "redis"
    prepare: tuple[str, ...] = ()
    alone: bool = True


FLASKY = Contender(
    name="Flask-Outbox",
    module="bench.peers.flasky",
    worker=(PYTHON, "worker.py"),
    store="sqlite",
    prepare=("flask", "db", "upgrade"),
)
BARE = Contender(name="smtplib alone", worker=(PYTHON, "-m", "bench.peers.bare"), store="")
POST_OFFICE = Contender(
    name="django-post_office",
    module="bench.peers.postoffice",
    worker=(PYTHON, "-m", "django", "send_queued_mail", "--settings", "bench.peers.settings", "--lockfile", "LOCK"),
    store="sqlite",
    prepare=MIGRATE_DJANGO,
)
MAILER = Contender(
    name="django-mailer",
    module="bench.peers.mailer",
    worker=(PYTHON, "-m", "django", "send_mail", "--settings", "bench.peers.settings"),
    store="sqlite",
    prepare=MIGRATE_DJANGO,
)
CELERY = Contender(
    name="Celery -c 2",
    module="bench.peers.celery",
    worker=("celery", "-A", "bench.peers.celery", "worker", "-c", "2"),
    alone=False,
)
DRAMATIQ = Contender(
    name="Dramatiq -p 2 -t 8",
    module="bench.peers.dramatiq",
    worker=("dramatiq", "bench.peers.dramatiq", "-p", "2", "-t", "8"),
    alone=False,
)
HUEY = Contender(
    name="Huey -w 2 -k process",
    module="bench.peers.huey",
    worker=("huey_consumer", "bench.peers.huey.huey", "-w", "2", "-k", "process"),
    alone=False,
)
RQ_SIMPLE = Contender(
    name="RQ SimpleWorker",
    module="bench.peers.rq",
    worker=("rq", "worker", "--worker-class", "rq.SimpleWorker", "--url", "REDIS", "emails"),
)
RQ_FORKING = Contender(name="RQ forking", module="bench.peers.rq", worker=(PYTHON, "-m", "bench.peers.rq"), alone=False)
TUTORIAL = Contender(
    name="the tutorial, literally", module="bench.peers.tutorial", worker=("rq", "worker", "--url", "REDIS", "emails"), alone=False
)
THREADS = Contender(name="a thread per mail", worker=(PYTHON, "-m", "bench.peers.flaskmail", "threads"), store="")
IN_REQUEST = Contender(name="Flask-Mail in the request", worker=(PYTHON, "-m", "bench.peers.flaskmail", "each"), store="")
