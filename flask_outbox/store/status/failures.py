"""Explain an error of the database to an operator: what is wrong, and what to do."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ..database.connection import reason

# PostgreSQL's codes for a missing table and a missing column.
UNDEFINED_TABLE, UNDEFINED_COLUMN = "42P01", "42703"

MIGRATE = "Run your migrations (flask db upgrade), or see what is missing: flask mail check."
REPAIR = "Check that the database runs and can be reached. Once it works, delivery continues by itself."


class Explanation(NamedTuple):
    """*what* is wrong, and the *remedy*."""

    what: str
    remedy: str


def explain(error: SQLAlchemyError) -> Explanation:
    """Return what is wrong and what to do; the text holds no statement and no parameter."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    said = reason(error)
    code = getattr(cause, "sqlstate", None)
    if "no such table" in said or code == UNDEFINED_TABLE:
        return Explanation(f"the outbox has no tables yet ({said})", MIGRATE)
    if "no such column" in said or "has no column" in said or code == UNDEFINED_COLUMN:
        return Explanation(f"the outbox tables are out of date ({said})", MIGRATE)
    return Explanation(f"the database cannot be used: {said}", REPAIR)
