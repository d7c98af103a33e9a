"""Run sample data so that nothing of it survives: its database session is rolled back, and a commit is refused."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from flask import Flask
from sqlalchemy import event

from ..errors import InvalidMessage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..store.database.host import Database

COMMITS = (
    "the sample data commits, or sends an email, which a preview must not do: use db.session.flush() where you need an id; "
    "everything is rolled back afterwards"
)
_is_rolled_back: ContextVar[bool] = ContextVar("is_rolled_back", default=False)


@contextmanager
def rolled_back(app: Flask, database: Database) -> Iterator[None]:
    """Push a context of *app* whose session is rolled back at the end; a commit in it raises InvalidMessage."""
    if not event.contains(database.engine, "commit", _refuse):
        event.listen(database.engine, "commit", _refuse)
    token = _is_rolled_back.set(True)
    try:
        with app.app_context(), database.session() as session:
            # The engine's listener does not see the other databases that the session may use.
            event.listen(session, "before_commit", _refuse)
            try:
                yield
            finally:
                event.remove(session, "before_commit", _refuse)
                session.rollback()
    finally:
        _is_rolled_back.reset(token)


def _refuse(_: Any) -> None:
    """Refuse a commit of this preview; the connections of other threads are none of its business."""
    if _is_rolled_back.get():
        raise InvalidMessage(COMMITS)
