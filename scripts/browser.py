"""Find a Chromium for the browser tests, and install one where that can be done without asking."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# A download that hangs must not hang the tests, in seconds.
PATIENCE = 300


def find_browser() -> str | None:
    """Return the path of a Chromium: the system's, or the one that Playwright has installed."""
    for name in NAMES:
        found = shutil.which(name)
        if found:
            return found
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).exists() else None


def install_browser() -> None:
    """Install one from the system's packages as root on Debian, else the one that Playwright downloads."""
    ways = [[sys.executable, "-m", "playwright", "install", "chromium"]]
    if os.geteuid() == 0 and shutil.which("apt-get"):
        ways = [["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"], *ways]
    for command in ways:
        try:
            # A failure is no reason to stop: the next way may do, and in the end we look for ourselves.
            subprocess.run(  # noqa: S603 - our own commands
                command,
                check=False,
                timeout=PATIENCE,
                stdout=subprocess.DEVNULL,
                env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
            )
        except subprocess.TimeoutExpired:
            continue
        if command[1] == "install" and find_browser():
            return


def main() -> None:
    """See to it that there is a browser; without one fail in CI, and say so loudly elsewhere."""
    if find_browser():
        return
    print("No Chromium found, installing one ...", flush=True)
    install_browser()
    if find_browser():
        return
    print("NO BROWSER: install chromium; without it the browser tests are skipped.", flush=True)
    if os.environ.get("CI"):
        sys.exit(1)


if __name__ == "__main__":
    main()
