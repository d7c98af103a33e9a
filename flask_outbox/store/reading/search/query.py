"""Understand a search line: what each of its words asks of an email."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...models import Status
from .moments import read_moment
from .words import NotUnderstood, Word, cut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

# The largest BIGINT.
LARGEST_ID = 2**63 - 1
MOST_IDS = 500
# The words whose value is an exact text, or a part of one.
TEXTS = ("to", "from", "subject", "template", "failure", "reply", "key", "request")
NAMES = (*TEXTS, "status", "id", "after", "before")
# An email has one of each, so that two of them find nothing.
SINGLE = {"status": "status:failed,expired", "id": "id:12,15"}
IDS = re.compile(r"\d{1,19}(,\d{1,19})*")


@dataclass(frozen=True)
class Term:
    """What one word asks: *name* is "" for a word in the subject or the recipient. *value* is a text, a moment, statuses or ids.

    The name ``body``, which no line can have, asks whether there is one.
    """

    name: str
    value: Any
    is_negated: bool = False


@dataclass(frozen=True)
class Query:
    """What a search line asks: all of its *terms*. *line* is the text."""

    line: str = ""
    terms: tuple[Term, ...] = ()

    @property
    def statuses(self) -> frozenset[Status]:
        """Return the statuses that an email may have."""
        allowed = frozenset(Status)
        for term in self.named("status"):
            allowed = allowed - term.value if term.is_negated else allowed & term.value
        return allowed

    def named(self, name: str) -> list[Term]:
        """Return the terms with this *name*."""
        return [term for term in self.terms if term.name == name]

    def narrowed(self, statuses: Iterable[Status], *, with_body: bool = False) -> Query:
        """Return the query for those of its emails that have one of *statuses*; *with_body*, whose body has not been erased."""
        terms = (*self.terms, Term("status", frozenset(statuses)))
        return Query(self.line, (*terms, Term("body", with_body)) if with_body else terms)


def parse(line: str, now: datetime) -> Query:
    """Return what *line* asks, with ages counted from *now*; raise NotUnderstood, with what to write, if a word is wrong."""
    words = cut(line)
    terms = tuple(_term(word, now) for word in words)
    times = Counter(term.name for term in terms if not term.is_negated)
    for name, instead in SINGLE.items():
        if times[name] > 1:
            raise NotUnderstood(f"{name}: stands twice, and an email has one {name}: write {instead} for any of several.")
    return Query(line.strip(), terms)


def quoted(text: str) -> str:
    """Return *text* in quotes, as a search line has it: ``failure:`` and this finds exactly that failure."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _term(word: Word, now: datetime) -> Term:
    if word.name and word.name not in NAMES:
        names = ", ".join(f"{name}:" for name in NAMES)
        raise NotUnderstood(f'There is no "{word.name}:": use {names}; or put the text in quotes, to search for it as it is.')
    read = READERS.get(word.name)
    if word.name in {"after", "before"}:
        if word.is_negated:
            other = "before" if word.name == "after" else "after"
            raise NotUnderstood(f"-{word.name}: is not possible: write {other}:{word.value}.")
        return Term(word.name, read_moment(word.value, now))
    return Term(word.name, read(word.value) if read else word.value, word.is_negated)


def _read_statuses(text: str) -> frozenset[Status]:
    names = [name.strip().lower() for name in text.split(",")]
    for name in names:
        if name not in set(Status):
            raise NotUnderstood(f'There is no status "{name}": use {", ".join(Status)}.')
    return frozenset(Status(name) for name in names)


def _read_ids(text: str) -> frozenset[int]:
    if not IDS.fullmatch(text) or not text.isascii():
        raise NotUnderstood(f'"{text}" is no id: write a number such as id:12, or several: id:12,15.')
    ids = frozenset(int(one) for one in text.split(","))
    if max(ids) > LARGEST_ID or len(ids) > MOST_IDS:
        raise NotUnderstood(f"id: takes up to {MOST_IDS} ids, up to {LARGEST_ID}: write fewer or smaller ones.")
    return ids


READERS: dict[str, Callable[[str], Any]] = {"status": _read_statuses, "id": _read_ids}
