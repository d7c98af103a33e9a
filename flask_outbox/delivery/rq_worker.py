"""The only module that imports RQ and Redis: the bell that wakes a worker, and the worker.

The bell is one RQ job without arguments. Redis holds nothing about an email: the database knows what is due.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from flask import Flask, current_app
from flask.cli import ScriptInfo
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from rq import Queue, SimpleWorker
from rq.exceptions import InvalidJobOperation
from rq.serializers import JSONSerializer

from .bells import Bell

if TYPE_CHECKING:
    from collections.abc import Callable

    from .thread import Deliverer

log = logging.getLogger(__name__)

QUEUE = "mail"
# A string, so that ringing imports nothing; with JSON, so that nothing is ever unpickled.
JOB = f"{__name__}.deliver_mail"
# What a visitor may have to wait for the bell where Redis hangs, in seconds, for each of two commands.
BELL_TIMEOUT = 0.05
# How long the bell stays silent after Redis has failed, in seconds; the sweep finds the mail meanwhile.
BELL_REST = 1.0
# How long one job goes on under a stock ``rq worker``, and what RQ allows it, in seconds.
JOB_SECONDS = 60
JOB_TIMEOUT = 600
# How long a job of our own worker waits for its deliverer, so that the dashboard shows it busy, in seconds.
JOB_WAITS = 60.0
# The blocking dequeue returns after worker_ttl - 15 s; then the worker's heartbeat is due.
WORKER_TTL = 35
RECONNECT_EVERY = 2.0
# While Redis is away, the worker says so this often, in seconds: a long outage must not fill the log.
REMIND_EVERY = 60.0
# How long one thread of the worker may keep the others waiting, in seconds; Python's own 5 ms were the slowest emails' delay.
SWITCH_INTERVAL = 0.0005
# honcho kills five seconds after SIGTERM; by then everything has ended, the goodbye to a Redis that hangs too.
END_WITHIN = 3.8
LAST_WORDS = 0.2


def connect(url: str, *, verify: bool = True, timeout: float | None = None) -> Redis:
    """Return a client for *url*; with *timeout*, one that fails within it instead of trying again."""
    options: dict[str, Any] = {}
    if url.startswith("rediss:") and not verify:
        options["ssl_cert_reqs"] = "none"
    if timeout is not None:
        options |= {"socket_connect_timeout": timeout, "socket_timeout": timeout, "retry": Retry(NoBackoff(), 0)}
    return Redis.from_url(url, **options)


class RqBell(Bell):
    """Puts a job into the RQ queue, unless one is waiting there: that one will see the new row too."""

    wakes_workers = True

    def __init__(self, redis: Redis) -> None:
        self._queue = Queue(QUEUE, connection=redis, serializer=JSONSerializer)
        self._silent_until = float("-inf")

    def ring(self) -> None:
        """Ring. A Redis that is away costs a bounded moment and a warning, never an error."""
        if time.monotonic() < self._silent_until:
            return
        try:
            if self._queue.count == 0:
                self._queue.enqueue(JOB, job_timeout=JOB_TIMEOUT, result_ttl=0, failure_ttl=86400, description="deliver mail")
        except RedisError as error:
            log.warning("mail: Redis is away (%s), so the mail waits for the next sweep", error)
            # A deadline, and no timer thread: a process that is forked meanwhile keeps the one and loses the other.
            self._silent_until = time.monotonic() + BELL_REST


def deliver_mail() -> None:
    """Deliver what is due: the RQ job.

    In a ``Worker`` it wakes the deliverer and waits for it. Under a stock ``rq worker`` it finds the app as the ``flask``
    command does and delivers in the job.
    """
    worker = Worker.current
    if worker is not None:
        worker.deliverer.ring_and_wait(JOB_WAITS)
        return
    app: Flask = current_app._get_current_object() if current_app else ScriptInfo().load_app()  # type: ignore[attr-defined]  # noqa: SLF001
    with app.app_context():
        app.extensions["mail"].deliver(JOB_SECONDS)


class _RqLoop(SimpleWorker):
    """RQ's own loop, hearing the bell: it may end at any time, and the worker around it builds another."""

    on_stop: Callable[[], None]
    on_job: Callable[[], None]

    def request_stop(self, signum: int, frame: Any) -> None:
        self.on_stop()
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]

    def reorder_queues(self, reference_queue: Queue) -> None:
        """Hear the bell here, which is the first thing RQ calls when a job has come: the job itself runs 20 round trips later."""
        self.on_job()
        super().reorder_queues(reference_queue)

    def subscribe(self) -> None:
        """Leave out RQ's commands from afar (stop this job, shut down): a job here is a bell, and holds nothing."""

    def set_shutdown_requested_date(self) -> None:
        """Leave Redis out of the signal handler: where it is away, the handler would block and raise inside the job."""

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        with suppress(RedisError):
            if pipeline is None and not self.connection.sismember(self.redis_workers_keys, self.key):
                # A Redis that was restarted or wiped has forgotten its workers, and RQ registers them only at birth. Half of
                # this one may be there again: its state is written at the end of a job.
                self.connection.delete(self.key)
                self.register_birth()  # type: ignore[no-untyped-call]
            super().heartbeat(timeout, pipeline)


def _is_worth_saying(record: logging.LogRecord) -> bool:
    """Keep RQ's tracebacks about a Redis that is away, or has forgotten a bell, out of the log; the worker says it in one line."""
    return not (record.exc_info and isinstance(record.exc_info[1], RedisError | InvalidJobOperation))


class Worker:
    """The worker process: a deliverer, and RQ's loop to wake it.

    The deliverer does not depend on the loop. While Redis is away the loop is built again every two seconds, and mail
    goes on from the database.
    """

    current: Worker | None = None

    def __init__(self, deliverer: Deliverer, redis: Callable[[], Redis]) -> None:
        self.deliverer = deliverer
        self._redis = redis
        self._silent_until = float("-inf")
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._end = threading.Thread(target=self._stop_deliverer, name="end", daemon=True)

    def run(self, *, burst: bool = False) -> None:
        """Deliver until SIGTERM or SIGINT; with *burst*, only what is due now."""
        Worker.current = self
        # RQ's bookkeeping for the bell must not hold up the email that it has rung for.
        sys.setswitchinterval(SWITCH_INTERVAL)
        self._install_handlers()
        self.deliverer.start()
        log.info("mail: worker started")
        if burst:
            self.deliverer.wait_until_idle(self._stopping)
        while not burst and not self._stopping.is_set():
            self._listen()
            self._install_handlers()
            self._stopping.wait(RECONNECT_EVERY)
        self._ended.set()
        self.stop()
        self._end.join()
        Worker.current = None
        log.info("mail: worker stopped")

    def stop(self) -> None:
        """End within four seconds, whatever hangs; called from the signal handler too."""
        # Nothing here may wait for a lock that the interrupted main thread holds.
        with suppress(RuntimeError):  # it has been started already
            self._end.start()

    def _stop_deliverer(self) -> None:
        end = time.monotonic() + END_WITHIN
        self._stopping.set()
        self.deliverer.stop()
        if not self._ended.wait(max(end - time.monotonic(), LAST_WORDS)):
            # RQ's loop says goodbye to a Redis that hangs. Everything is given back, so nothing is lost by leaving.
            logging.shutdown()
            os._exit(0)

    def _listen(self) -> None:
        redis = self._redis()
        try:
            loop = _RqLoop(
                [Queue(QUEUE, connection=redis, serializer=JSONSerializer)],
                connection=redis,
                serializer=JSONSerializer,
                worker_ttl=WORKER_TTL,
                log_job_description=False,
            )
            loop.on_stop, loop.on_job = self.stop, self.deliverer.ring
            loop.max_connection_wait_time = RECONNECT_EVERY
            loop.log_result_lifespan = False
            loop.log.addFilter(_is_worth_saying)
            loop.work(logging_level="WARNING")
            redis.ping()
        except RedisError as error:
            self._warn(error)
        except Exception:
            # RQ's loop is only the bell: whatever has ended it, the worker builds another.
            log.exception("mail: RQ's loop stumbled, and is built again")
        finally:
            redis.close()

    def _warn(self, error: RedisError) -> None:
        if not self._stopping.is_set() and time.monotonic() >= self._silent_until:
            self._silent_until = time.monotonic() + REMIND_EVERY
            log.warning("mail: Redis is away (%s); meanwhile the worker looks into the database every few seconds", error)

    def _install_handlers(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop())
