"""The HTML of a mail as a whole: what screen readers and inboxes need, what no client runs, and its size."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .finding import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .document import Document

# Gmail shows the first 102 KB of HTML and "[Message clipped]": https://github.com/hteumeuleu/email-bugs/issues/41.
GMAIL_CLIPS = 102 * 1024
NEARLY = 0.8
# No large client runs or shows these, and a filter for spam may take them for an attack.
DEAD = ("script", "iframe", "frame", "embed", "object", "applet", "noscript")
# Inboxes show the beginning of the mail beside the subject; of this the reader learns nothing.
EMPTY_WORDS = re.compile(r"(view|read|open|see)\b.{0,30}\b(browser|online)|https?://|having trouble", re.IGNORECASE)


def check_structure(subject: str, document: Document) -> Iterator[Finding]:
    """Yield what is wrong with *document*."""
    yield from _check_head(document)
    yield from _check_alternatives(document)
    yield from _check_dead(document)
    yield from _check_size(document)
    yield from _check_preview(subject, document)


def _check_head(document: Document) -> Iterator[Finding]:
    root = document.all_with("html")
    if not any(element.attributes.get("lang", "").strip() for element in root):
        what, remedy = "the mail does not say in which language it is", 'Write <html lang="en">: a screen reader needs it.'
        yield Finding(Level.WARNING, "lang", "html", root[0].line if root else None, what, remedy)
    if not document.title.strip():
        what, remedy = "the mail has no title", "Write a <title>: browsers and screen readers name the mail by it."
        yield Finding(Level.WARNING, "title", "html", None, what, remedy)


def _check_alternatives(document: Document) -> Iterator[Finding]:
    for element in document.all_with("img", "area"):
        if "alt" not in element.attributes:
            what = f"the image {element.attributes.get('src', '')!r:.100} has no alt text"
            remedy = 'Write what it says; alt="" if it only decorates. Many readers see no images.'
            yield Finding(Level.ERROR, "alt", "html", element.line, what, remedy)


def _check_dead(document: Document) -> Iterator[Finding]:
    for element in document.elements:
        if element.tag in DEAD:
            what, remedy = f"no client shows or runs <{element.tag}>", "Remove it: mail filters may take it for an attack."
            yield Finding(Level.ERROR, "dead", "html", element.line, what, remedy)
        handler = next((name for name in element.attributes if re.match(r"on[a-z]+$", name)), None)
        if handler:
            yield Finding(Level.ERROR, "dead", "html", element.line, f"no client runs {handler}", "Remove it: use a link.")


def _check_size(document: Document) -> Iterator[Finding]:
    size = len(document.html.encode(errors="surrogateescape"))
    if size > NEARLY * GMAIL_CLIPS:
        is_clipped = size > GMAIL_CLIPS
        what = f"the HTML has {size / 1024:.0f} KB, and Gmail {'cuts' if is_clipped else 'would cut'} a mail at 102 KB"
        remedy = "Shorten it, or move repeated style attributes into <style>."
        yield Finding(Level.ERROR if is_clipped else Level.WARNING, "size", "html", None, what, remedy)


def _check_preview(subject: str, document: Document) -> Iterator[Finding]:
    words = preview_text(document)
    problem = None
    if not words:
        problem = "the HTML has no words, so an inbox shows only the subject"
    elif EMPTY_WORDS.match(words):
        problem = f"an inbox shows {words[:60]!r} beside the subject"
    elif subject and words == subject.strip():
        problem = "the mail begins with its subject, so an inbox shows that twice"
    if problem:
        remedy = "Begin the mail with what it is about, or with a hidden line that says it."
        yield Finding(Level.WARNING, "preview-text", "html", None, problem, remedy)


def preview_text(document: Document) -> str:
    """Return the beginning of the mail, which an inbox shows beside the subject."""
    return " ".join(" ".join(words for words, _ in document.words[:20]).split())[:150]
