"""Cut a search line into words: ``-status:sent``, ``subject:"your invoice"``, ``invoice``."""

from __future__ import annotations

import re
from typing import NamedTuple

# A longer line, or one with more words, is a mistake: each word costs time on each email.
LONGEST, MOST_WORDS = 2000, 20
# What comes before the value. Apart from it, because a value that is wrong must not make a name part of the value.
HEAD = re.compile(r"(?P<minus>-?)(?:(?P<name>[A-Za-z_]+):)?")
# A quotation mark ends the word only before a space, so that a " inside needs a backslash only there.
VALUE = re.compile(r""""(?P<quoted>(?:[^"\\]|\\["\\]|\\(?!["\\])|"(?=\S))*)"(?=\s|$)|(?P<plain>[^\s"]\S*)?(?=\s|$)""")
ESCAPED = re.compile(r'\\(["\\])')


class NotUnderstood(Exception):  # noqa: N818 - not an error of ours, but an answer to the operator
    """The search line is wrong; the text says what to write instead."""


class Word(NamedTuple):
    """One word of a search line: its *name* ("" for a plain word), its *value*, whether it is negated, and its *text* as it is."""

    name: str
    value: str
    is_negated: bool
    text: str


def cut(line: str) -> list[Word]:
    """Return the words of *line*; raise NotUnderstood for a word without a value, or a quotation mark that is never closed."""
    if len(line) > LONGEST:
        raise NotUnderstood(f"The search is too long: write {LONGEST:,} characters at most.")
    if "\0" in line:
        raise NotUnderstood("The search contains a NUL character, which no email has: remove it.")
    words, position = [], 0
    while (position := _skip_space(line, position)) < len(line):
        head = HEAD.match(line, position)
        found = VALUE.match(line, head.end()) if head else None
        if head is None or found is None:
            raise NotUnderstood(
                f'A quotation mark is never closed after {line[position:][:40]}: write text with spaces as "your invoice".'
            )
        words.append(_word(head, found, line[position : found.end()]))
        position = found.end()
    if len(words) > MOST_WORDS:
        raise NotUnderstood(
            f"The search has too many words: write {MOST_WORDS} at most, or put text that belongs together in quotes."
        )
    return words


def without(line: str, name: str) -> str:
    """Return *line* without the words with this *name*."""
    return " ".join(word.text for word in cut(line) if word.name != name)


def _skip_space(line: str, position: int) -> int:
    while position < len(line) and line[position].isspace():
        position += 1
    return position


def _word(head: re.Match[str], found: re.Match[str], text: str) -> Word:
    name = (head["name"] or "").lower()
    quoted = found["quoted"]
    value = found["plain"] or "" if quoted is None else ESCAPED.sub(r"\1", quoted)
    if not value.strip():
        after = f"after {name}:" if name else "in the quotes" if quoted is not None else 'after the "-"'
        raise NotUnderstood(f"There is nothing {after}: write what to search for, or remove it.")
    return Word(name, value, is_negated=bool(head["minus"]), text=text)
