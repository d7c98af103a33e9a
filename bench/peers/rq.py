"""RQ, one job for each letter that calls Flask-Mail's ``mail.send``, in an app that was created once, at import.

``python -m bench.peers.rq`` is its forking worker with the app imported before, as RQ's documentation advises for speed.
"""

from __future__ import annotations

import os

from redis import Redis
from rq import Queue, Worker

from bench import letter
from bench.peers import flaskmail

connection = Redis.from_url(os.environ["REDIS_URL"])
queue = Queue("emails", connection=connection)


def send(recipient: str, subject: str, text: str, html: str) -> None:
    """Send one letter."""
    flaskmail.send(recipient, subject, text, html)


def enqueue(number: int) -> None:
    """Enqueue one letter."""
    # By name: run as a program, this module is called __main__.
    queue.enqueue("bench.peers.rq.send", *letter.arguments(number))


if __name__ == "__main__":
    import bench.peers.rq  # noqa: PLW0406 - what the forked child would otherwise import for each job

    Worker([bench.peers.rq.queue], connection=connection).work(logging_level="WARNING")
