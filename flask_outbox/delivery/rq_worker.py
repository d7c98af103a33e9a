"""The RQ worker and the bell that wakes it; the only module that imports RQ.

The bell is one RQ job without arguments. Redis stores nothing about an email: the database knows which emails are due. The worker
runs nothing that Redis stores, so whoever can write to Redis cannot make it run code.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from flask import Flask, current_app
from flask.cli import ScriptInfo
from redis.exceptions import RedisError
from rq import Queue, SimpleWorker
from rq.exceptions import InvalidJobOperation
from rq.job import Job
from rq.serializers import JSONSerializer

from .bells import Bell
from .redis_client import Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

    from .thread import DeliveryThread

log = logging.getLogger(__name__)

QUEUE = "mail"
# A name, so that ringing imports nothing; RQ stores it as JSON, so that nothing is ever unpickled.
JOB = f"{__name__}.deliver_mail"
# How long a request waits for a Redis that hangs, in seconds, for each of the two commands of a ring.
BELL_TIMEOUT = 0.05
# How long the bell skips Redis after an error, in seconds; the sweep delivers the mail meanwhile.
BELL_PAUSE = 1.0
# How long one job delivers under a stock ``rq worker``, and when RQ kills it, in seconds.
JOB_SECONDS = 60
JOB_TIMEOUT = 600
# Longest time for which a job of our own worker waits for the delivery thread, in seconds: the dashboard shows the worker as busy.
LONGEST_JOB_WAIT = 60.0
# RQ's blocking dequeue returns after worker_ttl - 15 s and sends the worker's heartbeat.
WORKER_TTL = 35
# How often to reconnect to a Redis that is down, in seconds.
RECONNECT_EVERY = 2.0
# How often the worker logs that Redis is down, in seconds: a long outage must not fill the log.
REMIND_EVERY = 60.0
# How long one thread may keep the others waiting, in seconds; Python's default of 5 ms delayed the slowest emails.
SWITCH_INTERVAL = 0.0005
# honcho kills a process five seconds after SIGTERM. The worker exits before, even if RQ cannot unregister from a Redis that hangs;
# RQ gets at least the second time for that, in seconds.
EXIT_WITHIN = 3.8
UNREGISTER_WITHIN = 0.2


class _BellJob(Job):
    """A job of the queue, taken as a bell: nothing that it names is imported, called or unpickled."""

    success_callback = failure_callback = stopped_callback = None  # RQ's are properties that import a function

    def perform(self) -> None:
        """Wake the delivery thread and wait for it; raise an error for a job that is no bell, so that RQ lists it as failed."""
        if self.func_name != JOB:
            message = f"this queue is the mail worker's, which runs no other jobs: give {self.func_name!r:.100} a queue of its own"
            raise InvalidJobOperation(message)
        if Worker.current is not None:
            Worker.current.thread.ring_and_wait(LONGEST_JOB_WAIT)

    def send_webhooks(self, *_: Any, **__: Any) -> None:
        """Do nothing: the job would name the URLs."""


def _queue(name: str, redis: Redis) -> Queue:
    return Queue(name, connection=redis, serializer=JSONSerializer, job_class=_BellJob)


def read_queue(redis: Redis, prefix: str) -> tuple[int, int]:
    """Return how many bells wait, and how many workers RQ knows for this queue; raise Unreachable without Redis."""
    queue = _queue(prefix + QUEUE, redis)
    try:
        return queue.count, SimpleWorker.count(queue=queue)
    except RedisError as error:
        raise Unreachable(str(error)) from error


class RqBell(Bell):
    """Enqueues an RQ job unless one is waiting; the waiting job will find the new email as well."""

    wakes_workers = True

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._queue = _queue(prefix + QUEUE, redis)
        self._silent_until = float("-inf")

    def ring(self) -> None:
        """Enqueue the job. If Redis is down, this costs a short wait and a warning, never an error."""
        if time.monotonic() < self._silent_until:
            return
        try:
            if self._queue.count == 0:
                self._queue.enqueue(JOB, job_timeout=JOB_TIMEOUT, result_ttl=0, failure_ttl=86400, description="deliver mail")
        except RedisError as error:
            log.warning("Redis is down (%s): the email goes out with the next sweep", error)
            # A deadline survives a fork; a timer thread would not.
            self._silent_until = time.monotonic() + BELL_PAUSE


def deliver_mail() -> None:
    """Deliver all due mail: the RQ job under a stock ``rq worker``. It finds the app as the ``flask`` command does."""
    app: Flask = current_app._get_current_object() if current_app else ScriptInfo().load_app()  # type: ignore[attr-defined]  # noqa: SLF001 - a proxy has no public way to return its object
    with app.app_context():
        app.extensions["mail"].deliver(JOB_SECONDS)


class _RqLoop(SimpleWorker):
    """RQ's own loop, which hears the bell. It may end at any time: the worker then starts another."""

    on_stop: Callable[[], None]
    on_job: Callable[[], None]
    stopping: threading.Event

    def _install_signal_handlers(self) -> None:
        """Install RQ's, and heed a signal that came before: our own handler has taken it."""
        super()._install_signal_handlers()  # type: ignore[no-untyped-call] # RQ's has no types
        self._stop_requested = self.stopping.is_set()

    def request_stop(self, signum: int, frame: Any) -> None:
        self.on_stop()
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call] # RQ's has no types

    def reorder_queues(self, reference_queue: Queue) -> None:
        """Ring here, in the first method that RQ calls after it takes a job: the job itself runs 20 round trips later."""
        self.on_job()
        super().reorder_queues(reference_queue)

    def clean_group_registries(self) -> None:
        """Do nothing: no job of ours is in a group, and RQ would unpickle those that are."""

    def subscribe(self) -> None:
        """Ignore RQ's remote commands (stop a job, shut down): a job here is only a bell."""

    def set_shutdown_requested_date(self) -> None:
        """Do nothing: RQ would use Redis in the signal handler, which blocks and raises inside the job if Redis is down."""

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        with suppress(RedisError):
            if pipeline is None and not self.connection.sismember(self.redis_workers_keys, self.key):
                # A restarted or flushed Redis has lost its workers, and RQ registers a worker only once, at its start. A part of
                # its key may exist again, because RQ writes the state at the end of a job.
                self.connection.delete(self.key)
                self.register_birth()  # type: ignore[no-untyped-call] # as above
            super().heartbeat(timeout, pipeline)


def _is_worth_logging(record: logging.LogRecord) -> bool:
    """Drop RQ's tracebacks about a Redis that is down or has lost a job; the worker logs one line instead."""
    return not (record.exc_info and isinstance(record.exc_info[1], RedisError | InvalidJobOperation))


class Worker:
    """The worker process: a delivery thread, and RQ's loop to wake it.

    The thread does not depend on the loop. While Redis is down the worker restarts the loop every two seconds, and the thread
    delivers with its sweep.
    """

    current: Worker | None = None

    def __init__(self, thread: DeliveryThread, redis: Callable[[], Redis], prefix: str) -> None:
        self.thread = thread
        self._queue = prefix + QUEUE
        self._redis = redis
        self._silent_until = float("-inf")
        self._stopping = threading.Event()
        self._ended = threading.Event()
        # A signal may interrupt the main thread while it holds an Event's lock or starts a thread; this queue needs no such lock.
        self._asked_to_stop: SimpleQueue[None] = SimpleQueue()
        self._end = threading.Thread(target=self._stop_thread, name="end", daemon=True)

    def run(self, *, burst: bool = False) -> str:
        """Deliver until SIGTERM or SIGINT; with *burst*, deliver the mail that is due now and return.

        Return why due mail cannot be delivered, in one sentence; an empty string if nothing is in the way.
        """
        Worker.current = self
        # RQ's bookkeeping for the job must not delay the email that it has rung for.
        sys.setswitchinterval(SWITCH_INTERVAL)
        self._end.start()
        self._install_handlers()
        self.thread.start()
        log.info("mail worker started")
        obstacle = self.thread.wait_until_idle(self._stopping) if burst else ""
        while not burst and not self._stopping.is_set():
            self._listen()
            self._install_handlers()
            self._stopping.wait(RECONNECT_EVERY)
        self._ended.set()
        self.stop()
        self._end.join()
        Worker.current = None
        log.info("mail worker stopped")
        return obstacle

    def stop(self) -> None:
        """Stop the worker within four seconds, whatever hangs; also called from the signal handler."""
        self._asked_to_stop.put(None)

    def _stop_thread(self) -> None:
        """Wait for ``stop``, and end the process if it has not ended in time: RQ's loop may unregister from a Redis that hangs."""
        self._asked_to_stop.get()
        end = time.monotonic() + EXIT_WITHIN
        self._stopping.set()
        try:
            self.thread.stop()
        except Exception:
            log.exception("stopping failed with an unexpected error; leases that are not released expire by themselves")
        if not self._ended.wait(max(end - time.monotonic(), UNREGISTER_WITHIN)):
            # All emails are released, so exiting loses nothing. In a thread, because the main thread may hold a handler's lock.
            flushing = threading.Thread(target=logging.shutdown, daemon=True)
            flushing.start()
            flushing.join(UNREGISTER_WITHIN)
            os._exit(0)

    def _listen(self) -> None:
        redis = self._redis()
        try:
            loop = _RqLoop(
                [_queue(self._queue, redis)],
                connection=redis,
                job_class=_BellJob,
                serializer=JSONSerializer,
                worker_ttl=WORKER_TTL,
                log_job_description=False,
            )
            loop.on_stop, loop.on_job, loop.stopping = self.stop, self.thread.ring, self._stopping
            loop.max_connection_wait_time = RECONNECT_EVERY
            loop.log_result_lifespan = False
            loop.log.addFilter(_is_worth_logging)
            loop.work(logging_level="WARNING")
            redis.ping()
        except RedisError as error:
            self._warn(error)
        except Exception:
            # RQ's loop is only the bell: after any error the worker starts another.
            log.exception("RQ's loop failed with an unexpected error, and is restarted")
        finally:
            redis.close()

    def _warn(self, error: RedisError) -> None:
        if not self._stopping.is_set() and time.monotonic() >= self._silent_until:
            self._silent_until = time.monotonic() + REMIND_EVERY
            log.warning("Redis is down (%s): the mail worker finds due mail in the database", error)

    def _install_handlers(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop())
