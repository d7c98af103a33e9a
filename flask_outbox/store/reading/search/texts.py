"""Find a part of a text, whatever the case of its letters, the same on SQLite and PostgreSQL.

SQLite's LIKE and lower() know the case of ASCII letters alone, and PostgreSQL's depend on the database's locale. So those are used
for ASCII alone, and other letters are looked for in both cases by a pattern.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

if TYPE_CHECKING:
    from sqlalchemy.sql.compiler import SQLCompiler

WILD_IN_LIKE = re.compile(r"([\\%_])")


def contains(column: Any, text: str) -> sa.ColumnElement[bool]:
    """Return whether *column* contains *text*."""
    if text.isascii():
        return contains_lower(_AsciiLower(column), text)
    return _HasPattern(column, sa.literal(_glob(text)), sa.literal(_regex(text)))


def contains_lower(column: Any, text: str) -> sa.ColumnElement[bool]:
    """Return whether *column*, whose letters are small, contains *text*."""
    pattern = WILD_IN_LIKE.sub(r"\\\1", text.lower())
    found: sa.ColumnElement[bool] = column.like(f"%{pattern}%", escape="\\")
    return found


class _AsciiLower(FunctionElement[str]):
    """A text with small ASCII letters; others stay."""

    type = sa.Text()
    inherit_cache = True


@compiles(_AsciiLower)
def _compile_lower(element: _AsciiLower, compiler: SQLCompiler, **options: Any) -> str:
    return f"lower({compiler.process(element.clauses, **options)})"


@compiles(_AsciiLower, "postgresql")
def _compile_lower_for_postgresql(element: _AsciiLower, compiler: SQLCompiler, **options: Any) -> str:
    return f'lower({compiler.process(element.clauses, **options)} COLLATE "C")'


class _HasPattern(FunctionElement[bool]):
    """Whether a text matches: the text, SQLite's GLOB, and PostgreSQL's regular expression."""

    type = sa.Boolean()
    inherit_cache = True


@compiles(_HasPattern)
def _compile_pattern(element: _HasPattern, compiler: SQLCompiler, **options: Any) -> str:
    text, glob = (compiler.process(clause, **options) for clause in _parts(element, 1))
    return f"({text} GLOB {glob})"


@compiles(_HasPattern, "postgresql")
def _compile_pattern_for_postgresql(element: _HasPattern, compiler: SQLCompiler, **options: Any) -> str:
    text, regex = (compiler.process(clause, **options) for clause in _parts(element, 2))
    return f"({text} ~ {regex})"


def _parts(element: _HasPattern, pattern: int) -> list[Any]:
    clauses = list(element.clauses)
    return [clauses[0], clauses[pattern]]


def _glob(text: str) -> str:
    return f"*{''.join(_both_cases(letter) or (f'[{letter}]' if letter in '*?[' else letter) for letter in text)}*"


def _regex(text: str) -> str:
    return "".join(
        _both_cases(letter) or (f"\\{letter}" if letter.isascii() and not letter.isalnum() else letter) for letter in text
    )


def _both_cases(letter: str) -> str:
    """Return the pattern of a letter in either case; an empty string for anything else."""
    cases = sorted({case for case in (letter, letter.lower(), letter.upper()) if len(case) == 1})
    return f"[{''.join(cases)}]" if len(cases) > 1 else ""
