"""A mail server that this project did not write, as the tests start and ask it."""

from __future__ import annotations

import mailbox
import re
import shutil
import socket
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Self

from tests.servers import ROOT, Process, free_port, wait_until

# Packages are fetched once; git ignores this folder.
CACHE = ROOT / ".cache" / "strangers"


class Missing(Exception):
    """A server that cannot be had here; the text says why."""


class Stranger:
    """Receives for susan@example.com on a port of 127.0.0.1, and refuses noone@example.com.

    ``folder`` is a temporary folder of its own. A subclass says how to ``start`` it and where it keeps what has ``arrived``.
    """

    name = ""
    # How long it may take to install and start, in seconds.
    patience = 120.0
    # Whether it writes another transfer encoding when it delivers.
    recodes = False
    # Whether it refuses noone@example.com.
    refuses = True
    # How many emails smtplib may send over one connection, which does not find out by itself.
    per_connection = 1_000_000

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="flasky-stranger-"))
        self.folder.chmod(0o755)
        self.processes: list[Process] = []

    def __enter__(self) -> Self:
        try:
            self.start()
            wait_until(self._greets, self.patience, f"{self.name}'s greeting")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        raise NotImplementedError

    def run(self, name: str, *command: str | Path, env: dict[str, str] | None = None) -> None:
        """Start a process that ends with this server."""
        process = Process([str(word) for word in command], self.folder / f"{name}.log", env, self.folder)
        self.processes.append(process)

    def _greets(self) -> bool:
        for process in self.processes:
            if process.popen.poll() is not None:
                raise Missing(f"{self.name} has ended: {process.output[-500:]}")
        try:
            with socket.create_connection(("127.0.0.1", self.port), 20) as sock:
                sock.settimeout(20)
                greeting = sock.recv(100)
                sock.sendall(b"QUIT\r\n")
                return greeting.startswith(b"220")
        except OSError:
            return False

    def arrived(self) -> list[bytes]:
        """Return every message that has arrived: by default, those in susan's mailbox, in mbox format."""
        path = self.folder / "mail" / "susan"
        if not path.exists():
            return []
        with closing(mailbox.mbox(path, create=False)) as box:
            return [one.as_bytes() for one in box]

    def count(self) -> int:
        """Return about how many messages have arrived, without parsing them."""
        path = self.folder / "mail" / "susan"
        return len(re.findall(rb"^X-(?:Number|Letter): ", path.read_bytes(), re.MULTILINE)) if path.exists() else 0


class KeepsFiles(Stranger):
    """A server that keeps each message in a file of its own, in the folder ``inbox``."""

    inbox = "mail"

    def files(self) -> list[Path]:
        folder = self.folder / self.inbox
        return [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []

    def arrived(self) -> list[bytes]:
        return [path.read_bytes() for path in self.files()]

    def count(self) -> int:
        return len(self.files())
