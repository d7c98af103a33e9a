"""The site with a letter to send to many, for tests that run ``flask mail send-many`` in a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jinja2 import ChoiceLoader, DictLoader

if TYPE_CHECKING:
    from pathlib import Path

    from flask import Flask

LETTER = {
    "mail/letter.txt": "Dear {{ name }},\n\nyour number is {{ number }}.",
    "mail/letter.html": "<p>Dear {{ name }},</p><p>your number is {{ number }}.</p>",
}


def with_letter(app: Flask) -> Flask:
    """Let *app* have a template pair that asks for a name and a number."""
    app.jinja_env.loader = ChoiceLoader([DictLoader(LETTER), app.jinja_env.loader])
    return app


def write_people(path: Path, count: int, *, backwards: bool = False) -> Path:
    """Write a CSV file of so many people."""
    lines = [f"{number}@example.com;Zoë {number};{number}\n" for number in range(count)]
    path.write_text("email;name;number\n" + "".join(reversed(lines) if backwards else lines), encoding="utf-8")
    return path


def make_app() -> Flask:
    """Be the factory that ``flask --app tests.lettered:make_app`` calls."""
    from flasky import create_app

    return with_letter(create_app())
