"""``python -m scripts.settings_table``: write what Settings says about itself into the docs and ``.env.example``."""

from __future__ import annotations

import re
from dataclasses import Field, fields
from datetime import timedelta
from typing import Any

from flasky.config import ROOT, Settings

DOCS, EXAMPLE = ROOT / "docs" / "flasky.md", ROOT / ".env.example"
HEAD = """\
# Every variable that Flasky reads, with its default. Copy this file to .env, and take the # away where you want
# something else. What the environment says goes before what .env says.
"""
TABLE = re.compile(r"(?<=<!-- settings -->\n).*?(?=<!-- /settings -->)", re.DOTALL)


def written(value: Any) -> str:
    """Return *value* as one would write it into the environment."""
    match value:
        case bool():
            return "on" if value else "off"
        case timedelta():
            return f"{value.days} days"
        case tuple():
            return ",".join(value)
        case float():
            return f"{value:g}"
    return str(value)


def table() -> str:
    """Return the settings as a table in Markdown."""
    rows = [f"| `{one.name.upper()}` | {_code(written(one.default))} | {one.metadata['meaning']} |" for one in fields(Settings)]
    return "\n".join(["| Variable | Default | Meaning |", "|---|---|---|", *rows, ""])


def example() -> str:
    """Return the settings as a file for dotenv, in which only what has to be given is no comment."""
    return "\n".join([HEAD, *(_lines(one) for one in fields(Settings))])


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _lines(one: Field[Any]) -> str:
    value = written(one.default)
    quoted = f'"{value}"' if re.search(r"[\s<>\[\]]", value) else value
    mark = "" if "Required" in one.metadata["meaning"] else "#"
    return f"# {one.metadata['meaning']}\n{mark}{one.name.upper()}={quoted}\n"


if __name__ == "__main__":
    EXAMPLE.write_text(example())
    DOCS.write_text(TABLE.sub(lambda _: table(), DOCS.read_text()))
