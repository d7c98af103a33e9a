"""Everything that a run stands on: a folder, Redis, PostgreSQL, sinks and placement, all of it gone when the run ends."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import psycopg
import sqlalchemy as sa

from bench.catch import Catch
from bench.placement import Placement
from tests.servers import ROOT, PostgresServer, Process, RedisServer, Site, free_port, wait_until

MEMORY = "/dev/shm"  # noqa: S108 - a folder of our own is made in it


class Lab:
    """The servers of one part; each is started when it is first asked for."""

    def __init__(self, placement: Placement) -> None:
        self.placement = placement
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="flasky-bench-"))
        self._open.callback(shutil.rmtree, self.folder, ignore_errors=True)
        # What the sink writes must not wait in the queue for the disk that the contenders commit to.
        self._memory = Path(tempfile.mkdtemp(prefix="flasky-bench-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
        self._open.callback(shutil.rmtree, self._memory, ignore_errors=True)
        # smtp-sink runs as nobody where this runs as root, and makes a file for each mail on its way into the one.
        self._memory.chmod(0o777)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @cached_property
    def redis(self) -> RedisServer:
        """Return Redis, without persistence, as a broker for all."""
        server = RedisServer(self.folder).start()
        self._open.callback(server.stop)
        self.placement.server(server.client.info("server")["process_id"])
        return server

    @cached_property
    def postgres(self) -> PostgresServer:
        """Return PostgreSQL as it comes: every commit reaches the disk, and it runs where it likes, one process a connection."""
        server = PostgresServer()
        self._open.callback(server.stop)
        with psycopg.connect(server.url) as connection:
            folder = connection.execute("SELECT current_setting('data_directory')").fetchall()[0][0]
        self.placement.several(int(Path(folder, "postmaster.pid").read_text().split()[0]))
        return server

    def postgres_url(self, database: str) -> str:
        """Return the URL of *database*, there or not."""
        return str(sa.make_url(self.postgres.url).set(database=database).render_as_string(hide_password=False))

    def sql(self, statement: str) -> None:
        """Run one statement in PostgreSQL outside any transaction, such as CREATE DATABASE."""
        with psycopg.connect(self.postgres.url, autocommit=True) as connection:
            connection.execute(statement)

    def catch(self, site: Site, port: int = 0) -> Catch:
        """Return the sink that *site* sends to, not yet started; on another *port* where something stands between."""
        catch = Catch(self.placement, self._memory / site.folder.name, port or int(site.env["MAIL_PORT"]))
        self._open.callback(catch.stop)
        return catch

    def site(self, name: str, **settings: Any) -> Site:
        """Return an environment of its own: a folder, a database, a port to send mail to."""
        folder = self.folder / name
        folder.mkdir()
        own = {
            "REDIS_URL": self.redis.url,
            "MAIL_SERVER": "127.0.0.1",
            "MAIL_PORT": free_port(),
            "FLASKY_MAIL_SUBJECT_PREFIX": "",
            "FLASKY_MAIL_DISPATCH": "rq",
            "PYTHONPATH": ROOT,
            "PYTHONWARNINGS": "ignore",
        }
        site = Site(folder, **own | settings)
        self._open.callback(site.stop)
        return site

    def run(self, site: Site, name: str, *command: str, alone: bool) -> Process:
        """Start a contender's process; *alone* puts it on the first core."""
        process = site.start(name, *command)
        (self.placement.single if alone else self.placement.several)(process.popen.pid)
        return process


def wait_for_end(process: Process, seconds: float = 60.0) -> None:
    """Return when *process* has ended by itself; raise where it failed."""
    wait_until(lambda: process.popen.poll() is not None, seconds, "the end of a process")
    if process.popen.returncode:
        raise RuntimeError(process.output[-2000:])
