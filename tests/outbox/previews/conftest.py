"""An app over each database, whose mail templates a test writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from jinja2 import ChoiceLoader, FileSystemLoader

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flask import Flask


@pytest.fixture
def write(quiet: Flask, tmp_path: Path) -> Callable[..., None]:
    """A function that writes a mail: its halves, and the file with its sample data."""
    folder = tmp_path / "templates"
    quiet.jinja_env.loader = ChoiceLoader([FileSystemLoader(folder), quiet.jinja_env.loader])

    def write(name: str, text: str | None = "Hello", html: str | None = "<p>Hello</p>", sample: str | None = None) -> None:
        for suffix, source in ((".txt", text), (".html", html), (".py", sample)):
            if source is not None:
                path = folder / f"{name}{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(source)

    return write


@pytest.fixture
def lint(quiet: Flask) -> Callable[..., Any]:
    """A function that runs ``flask mail lint``."""
    return lambda *words: quiet.test_cli_runner().invoke(args=["mail", "lint", *words])
