"""The one small mail, text and HTML, that every contender sends; each copy has a number, by which it is counted."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, select_autoescape

# Valid for Jinja and for Django, so that nobody renders another mail than the others.
TEMPLATES = Path(__file__).resolve().parent / "templates"
TEMPLATE = "bench/letter"
SENDER = "flasky@example.com"
HOME = "https://www.example.com/"
NUMBER = re.compile(rb"Subject: Somebody new: (\d{7})")


def recipient(number: int) -> str:
    """Return whom letter *number* goes to."""
    return f"susan-{number:07}@example.com"


def subject(number: int) -> str:
    """Return its subject, which no other letter of the run has."""
    return f"Somebody new: {number:07}"


def context(number: int) -> dict[str, str]:
    """Return what its templates need."""
    return {"name": f"Susan {number:07}", "home": HOME}


@cache
def _environment() -> Environment:
    return Environment(loader=FileSystemLoader(TEMPLATES), autoescape=select_autoescape())


def render(number: int) -> tuple[str, str]:
    """Return its two halves, text and HTML."""
    values = context(number)
    text, html = (_environment().get_template(f"{TEMPLATE}.{half}").render(values) for half in ("txt", "html"))
    return text, html


def arguments(number: int) -> tuple[str, str, str, str]:
    """Return what a job takes: recipient, subject, text and HTML, as the known tutorials do it."""
    return recipient(number), subject(number), *render(number)
