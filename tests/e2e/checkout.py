"""The project as a stranger gets it, started as `make run` starts it."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import psutil
import pytest

from tests.servers import BIN, ROOT, Process, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


def give_up(reason: str) -> NoReturn:
    """Skip what this machine cannot do; fail in CI, where it has to."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


class Checkout:
    """A fresh clone in *folder*, and what `make run` starts in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._starts = itertools.count()
        names = ["PORT", "MAILBOX_PORT", "REDIS_PORT"]
        keep = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "TMPDIR"}}
        self.env = keep | {name: str(free_port()) for name in names}
        self.url = f"http://localhost:{self.env['PORT']}"

    @contextmanager
    def running(self) -> Iterator[GroupProcess]:
        """Start it, wait until it says where to look, and leave no process behind whatever happens."""
        process = self.start()
        try:
            wait_until(lambda: self.url in process.output or process.popen.poll() is not None, 30, "the site")
            assert process.popen.poll() is None, process.output
            yield process
        finally:
            process.signal_group(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.popen.wait(10)
            self.clean_up()

    def start(self) -> GroupProcess:
        return GroupProcess(
            [sys.executable, "scripts/run.py"], self.folder.parent / f"run-{next(self._starts)}.log", self.env, self.folder
        )

    def flask(self, *words: str, code: int = 0) -> str:
        """Run ``flask`` as in another terminal in the folder, which has no variable of the site; return what it says."""
        terminal = {name: value for name, value in self.env.items() if not name.endswith("PORT")}
        command = [str(BIN / "flask"), *words]
        done = subprocess.run(command, env=terminal, cwd=self.folder, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def processes(self) -> list[psutil.Process]:
        """Return every process that works in the folder, whoever its parent is by now."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if Path(process.cwd()).is_relative_to(self.folder):
                    found.append(process)
        return found

    def clean_up(self) -> None:
        for one in self.processes():
            with suppress(psutil.Error):
                one.kill()


class GroupProcess(Process):
    def signal_group(self, number: int) -> None:
        """Do to the whole group what a terminal does on Ctrl-C."""
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, number)

    def end(self, seconds: float = 10.0) -> int:
        return self.popen.wait(seconds)


def copy_project(folder: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file() and not name.startswith("tests/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
