"""Build the package, install it into an empty environment, and run an example app against it: what a stranger will have."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "flask_outbox"
# The lower bounds of pyproject.toml, as one environment.
LOWEST = ["flask==3.0.*", "flask-mail==0.10.*", "sqlalchemy==2.0.30", "email-validator==2.1.*", "flask-sqlalchemy==3.1.*"]
# What a host that wants none of it must not load.
OPTIONAL = ("rq", "redis", "limits", "flask_sqlalchemy", "flask_security", "psycopg", "alembic", "pytest", "flasky")
IMPORTS = f"""
import sys
from {PACKAGE} import Mail, send_email
sys.exit(", ".join(sorted(name for name in {OPTIONAL!r} if name in sys.modules)) or None)
"""

HOST = """
import os, sys
from pathlib import Path
from flask_outbox.testing import SmtpServer

example = Path(sys.argv[1])
os.chdir(sys.argv[2])
with SmtpServer() as server:
    os.environ |= {"FLASK_MAIL_SERVER": "127.0.0.1", "FLASK_MAIL_PORT": str(server.port)}
    sys.path.insert(0, str(example))
    from app import app

    answer = app.test_client().post("/users/susan")
    assert answer.status_code < 400, answer.status
    mail = server.wait_for(1)[0]
    print("arrived:", mail.recipient)
"""


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run *command* and return what it printed; end with its errors if it fails."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=600)  # noqa: S603 - our own
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command[:4]))} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done.stdout.strip()


def environment(folder: Path, *packages: str) -> Path:
    """Make an empty virtual environment with *packages*, and return its Python."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore", *packages)
    return python


def build(folder: Path) -> Path:
    """Build sdist and wheel, check that they hold the library alone, and return the wheel."""
    python = environment(folder / "build", "build")
    run(python, "-m", "build", "--outdir", folder / "dist", ROOT)
    wheel, sdist = next(folder.glob("dist/*.whl")), next(folder.glob("dist/*.tar.gz"))
    names = zipfile.ZipFile(wheel).namelist()
    strangers = [name for name in names if not name.startswith((f"{PACKAGE}/", f"{PACKAGE}-"))]
    with tarfile.open(sdist) as archive:
        parts = [Path(name).parts for name in archive.getnames()]
    top = {part[1] for part in parts if len(part) > 1}
    expected = {PACKAGE, "LICENSE", "README.md", "pyproject.toml", "PKG-INFO"}
    if strangers or f"{PACKAGE}/py.typed" not in names or not top <= expected:
        sys.exit(f"the package holds what it should not, or lacks py.typed: {strangers} {sorted(top)}")
    print(f"built: {wheel.name}, {sdist.name}")
    return wheel


def try_it(python: Path, folder: Path) -> None:
    """Import the package, and send a mail with the example app."""
    loaded = run(python, "-c", IMPORTS, cwd=folder)
    host = folder / "host.py"
    host.write_text(HOST)
    # A copy, because the app keeps its database beside itself.
    work = shutil.copytree(ROOT / "examples" / "quickstart", folder / "work", ignore=shutil.ignore_patterns("instance"))
    print(loaded or "loads nothing optional;", run(python, host, work, work, cwd=folder))


def main() -> None:
    """Build, then try the newest and the oldest releases of what the package needs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lowest", action="store_true", help="try the lower bounds of what it needs, too")
    lowest = parser.parse_args().lowest
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = build(folder)
        for kind, pins in [("newest", []), *([("lowest", LOWEST)] if lowest else [])]:
            here = folder / kind
            here.mkdir()
            python = environment(here / "venv", f"{wheel}[flask-sqlalchemy]", *pins)
            try_it(python, here)


if __name__ == "__main__":
    main()
