"""Read ids and search lines from a request; what is none is answered with 400."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flask import abort, request

from ...store.database.clock import database_now
from ...store.reading.search import NotUnderstood, parse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.engine import Connection

    from ...store.reading.search import Query

ID = re.compile(r"[0-9]{1,18}")


def id_argument(name: str) -> int | None:
    """Return the id in the query string; None if it is missing or empty."""
    text = request.args.get(name, "")
    return read_ids([text], 1)[0] if text else None


def ids_argument(name: str, most: int) -> list[int]:
    """Return the ids in the query string, separated by commas, up to *most*."""
    text = request.args.get(name, "")
    return read_ids(text.split(","), most) if text else []


def read_ids(texts: Iterable[str], most: int) -> list[int]:
    """Return *texts* as ids, up to *most*."""
    found = list(texts)
    if len(found) > most:
        abort(400, f"These are more than {most} emails: do it in parts, or search for them.")
    for text in found:
        if not ID.fullmatch(text):
            abort(400, f'"{text[:40]}" is no id of an email.')
    return [int(text) for text in found]


def understand(line: str, connection: Connection) -> Query:
    """Return what a search *line* asks; answer 400 if it is wrong."""
    try:
        return parse(line, database_now(connection))
    except NotUnderstood as explained:
        abort(400, str(explained))
