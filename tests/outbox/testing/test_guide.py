"""The page about testing: its examples, put together to the suite that they describe, run."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from tests.outbox.testing.test_plugin import run
from tests.servers import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGE = ROOT / "docs/guides/testing.md"
BLOCK = re.compile(r"^```python\n# (\S+\.py)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_the_examples_of_the_page_run(tmp_path: Path) -> None:
    files: dict[str, str] = defaultdict(str)
    page = PAGE.read_text(encoding="utf-8")
    for name, text in BLOCK.findall(page):
        files[name] += text
    assert page.count("```python\n") == len(BLOCK.findall(page))
    (tmp_path / "templates/mail").mkdir(parents=True)
    (tmp_path / "templates/mail/welcome.txt").write_text("Welcome, {{ user.name }}!")
    (tmp_path / "templates/mail/welcome.html").write_text("<p>Welcome, <b>{{ user.name }}</b>!</p>")
    (tmp_path / "shop.py").write_text(files["shop.py"])
    (tmp_path / "test_smtp.py").write_text(files["test_smtp.py"])
    ran = run(tmp_path, files["conftest.py"], files["test_shop.py"])
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{page.count('def test_')} passed" in ran.stdout
