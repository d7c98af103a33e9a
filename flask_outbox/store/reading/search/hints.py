"""Tell SQLite which of two indexes finds fewer emails; it cannot know, unless somebody runs ANALYZE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

if TYPE_CHECKING:
    from sqlalchemy.sql.compiler import SQLCompiler


class Common(FunctionElement[Any]):
    """A condition that many emails meet, so that SQLite looks for another one first."""

    # Not Boolean, of which SQLAlchemy makes "... = 1" for SQLite, which then no longer sees the partial index's condition.
    type = sa.Integer()
    inherit_cache = True


@compiles(Common)
def _compile(element: Common, compiler: SQLCompiler, **options: Any) -> str:
    # https://www.sqlite.org/lang_corefunc.html#likelihood
    return f"likelihood({compiler.process(element.clauses, **options)}, 0.9)"


@compiles(Common, "postgresql")
def _compile_for_postgresql(element: Common, compiler: SQLCompiler, **options: Any) -> str:
    return f"({compiler.process(element.clauses, **options)})"
