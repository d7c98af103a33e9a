"""A backlog is made once, and given back before each round: a file copied, a database cloned, keys restored."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import sqlalchemy as sa

if TYPE_CHECKING:
    from redis import Redis

    from bench.lab import Lab


class Backlog(Protocol):
    """Letters that wait."""

    def keep(self) -> None:
        """Remember what is there now."""

    def restore(self) -> None:
        """Have it as it was."""


class Nothing:
    """The backlog of a contender that has no queue."""

    def keep(self) -> None:
        """Remember nothing."""

    def restore(self) -> None:
        """Do nothing."""


class SqliteBacklog:
    """Rows in a SQLite file that nobody has open."""

    def __init__(self, url: str) -> None:
        self._file = Path(sa.make_url(url).database or "")
        self._kept = self._file.with_suffix(".kept")

    def keep(self) -> None:
        """Copy the file away."""
        shutil.copyfile(self._file, self._kept)

    def restore(self) -> None:
        """Copy it back, without what a writer that was killed has left beside it."""
        for suffix in ("-wal", "-shm", "-journal"):
            Path(f"{self._file}{suffix}").unlink(missing_ok=True)
        shutil.copyfile(self._kept, self._file)


class PostgresBacklog:
    """Rows in a PostgreSQL database that nobody has open."""

    def __init__(self, lab: Lab, database: str) -> None:
        self._lab, self._name = lab, database

    def keep(self) -> None:
        """Make the database a template."""
        self._lab.sql(f"ALTER DATABASE {self._name} RENAME TO {self._name}_kept")

    def restore(self) -> None:
        """Clone the template."""
        self._lab.sql(f"DROP DATABASE IF EXISTS {self._name} WITH (FORCE)")
        self._lab.sql(f"CREATE DATABASE {self._name} TEMPLATE {self._name}_kept")


class RedisBacklog:
    """Jobs in Redis, whatever keys the contender spreads them over."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._kept: dict[bytes, Any] = {}

    def keep(self) -> None:
        """Dump every key, and empty Redis for the next contender."""
        self._kept = {key: self._redis.dump(key) for key in self._redis.scan_iter()}
        self._redis.flushall()

    def restore(self) -> None:
        """Put the keys back, and nothing else."""
        self._redis.flushall()
        pipeline = self._redis.pipeline(transaction=False)
        for key, value in self._kept.items():
            pipeline.restore(key, 0, value)
        pipeline.execute()
