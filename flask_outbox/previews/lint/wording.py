"""The words of a mail: nothing unrendered, nothing escaped where nothing is to be escaped, and a plain text that one can read."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

from .finding import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .document import Document

ENTITY = re.compile(r"&(?:[a-z]{2,8}|#\d{1,6}|#x[0-9a-f]{1,5});", re.IGNORECASE)
UNRENDERED = re.compile(r"\{\{|\}\}|\{%|%\}|\{#|#\}")
NAMES = "a|b|body|br|div|em|h[1-6]|head|html|i|img|li|ol|p|span|strong|style|table|td|tr|u|ul"
TAG = re.compile(rf"</?(?:{NAMES})(?:\s+[\w-]+\s*=[^<>]*)?\s*/?>", re.IGNORECASE)
# A longer text without a line break is a wall.
LONGEST_LINE = 1000
MOST_BLANK_LINES = 3
AUTOESCAPE = "Give the template the ending .txt, or mark the value as safe: plain text is not HTML."


def check_wording(subject: str, text: str, document: Document | None) -> Iterator[Finding]:
    """Yield what is wrong with the words of *subject*, *text* and *document*."""
    yield from _check_plain("subject", [(subject, None)])
    yield from _check_plain("text", _numbered(text))
    yield from _check_text(text, has_html=document is not None)
    if document is not None:
        yield from _check_html(document)


def _numbered(text: str) -> Iterator[tuple[str, int]]:
    return ((line, number) for number, line in enumerate(text.splitlines(), 1))


def _check_plain(half: str, lines: Iterable[tuple[str, int | None]]) -> Iterator[Finding]:
    for line, number in lines:
        escaped = next((found for found in ENTITY.findall(line) if html.unescape(found) != found), None)
        if escaped:
            yield Finding(Level.ERROR, "escaped", half, number, f"the reader sees {escaped}", AUTOESCAPE)
        tag = TAG.search(line)
        if tag:
            yield Finding(Level.ERROR, "tags", half, number, f"the reader sees {tag[0]:.80}", "Write this half without HTML.")
        yield from _check_rendered(half, line, number)


def _check_rendered(half: str, words: str, line: int | None) -> Iterator[Finding]:
    found = UNRENDERED.search(words)
    if found:
        what = f"the reader sees {found[0]}: {words[max(found.start() - 20, 0) : found.start() + 40].strip()!r}"
        remedy = "Render it: it may come from a value that is a template itself, or from {% raw %}."
        yield Finding(Level.ERROR, "unrendered", half, line, what, remedy)


def _check_text(text: str, *, has_html: bool) -> Iterator[Finding]:
    if not text.strip():
        if has_html:
            yield Finding(Level.ERROR, "text-empty", "text", None, "the plain text is empty", "Say in it what the HTML says.")
        return
    blank = 0
    for line, number in _numbered(text):
        blank = 0 if line.strip() else blank + 1
        if blank == MOST_BLANK_LINES:
            what = f"{MOST_BLANK_LINES} blank lines one after the other"
            yield Finding(Level.WARNING, "text-blank", "text", number, what, "Remove them with {%- and -%}.")
        if len(line) > LONGEST_LINE:
            what = f"a line of {len(line)} characters"
            yield Finding(Level.WARNING, "text-long", "text", number, what, "Break it into lines and paragraphs.")


def _check_html(document: Document) -> Iterator[Finding]:
    for words, line in document.words:
        escaped = next((found for found in ENTITY.findall(words) if html.unescape(found) != found), None)
        if escaped:
            what, remedy = f"the reader sees {escaped}: it is escaped twice", "Escape it once: Jinja does it in .html templates."
            yield Finding(Level.ERROR, "escaped", "html", line, what, remedy)
        yield from _check_rendered("html", words, line)
    for element in document.elements:
        for name, value in element.attributes.items():
            if name != "style":
                yield from _check_rendered("html", value, element.line)
