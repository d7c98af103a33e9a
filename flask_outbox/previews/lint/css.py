"""Split CSS into what lint looks at: at-rules, selectors and declarations, each with its line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)", re.DOTALL)
# A string and a pair of parentheses may hold any of the characters that separate rules, as a data: URL does.
TOKEN = re.compile(r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\([^()"']*\)|[{};]|[^{};"'(]+|.""", re.DOTALL)

SEPARATORS = {"{", "}", ";"}


@dataclass(frozen=True)
class AtRule:
    """An at-rule: its *name*, such as media, and its *prelude*, such as (max-width: 600px)."""

    name: str
    prelude: str
    line: int


@dataclass(frozen=True)
class Selector:
    """The selectors of a rule."""

    text: str
    line: int


@dataclass(frozen=True)
class Declaration:
    """A property and its value, both in lower case."""

    name: str
    value: str
    line: int


def split_css(css: str, line: int) -> Iterator[AtRule | Selector | Declaration]:
    """Yield the pieces of *css*, a style sheet or the value of a ``style`` attribute, which begins in *line*."""
    pending = ""
    for found in TOKEN.findall(COMMENT.sub(_only_line_breaks, css) + ";"):
        if found not in SEPARATORS:
            pending += found
            continue
        before = len(pending) - len(pending.lstrip())
        piece = _piece(pending, line + pending.count("\n", 0, before), opens=found == "{")
        line += pending.count("\n")
        pending = ""
        if piece is not None:
            yield piece


def _only_line_breaks(comment: re.Match[str]) -> str:
    return "\n" * comment[0].count("\n")


def _piece(text: str, line: int, *, opens: bool) -> AtRule | Selector | Declaration | None:
    text = text.strip()
    if text.startswith("@"):
        name, _, prelude = text[1:].partition(" ")
        return AtRule(name.partition("(")[0].lower(), text[len(name) + 1 :].strip().lower() or prelude, line)
    if opens:
        return Selector(text, line)
    name, colon, value = text.partition(":")
    return Declaration(name.strip().lower(), value.strip().lower(), line) if colon else None
