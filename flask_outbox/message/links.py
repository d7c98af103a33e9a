"""Find the links of a message, and in which of its halves each is: a link that one half lacks is a usual mistake."""

from __future__ import annotations

import re
from html import unescape
from typing import NamedTuple

# Bounded, so that hostile HTML costs no more than its length.
HREF = re.compile(r"""\bhref\s{0,9}=\s{0,9}(?:"([^"]{0,4000})"|'([^']{0,4000})'|([^\s"'>]{1,4000}))""", re.IGNORECASE)
URL = re.compile(r"\b(?:https?://|mailto:)[^\s<>\"]{1,4000}", re.IGNORECASE)
# What ends a sentence, and not a URL.
AFTER_URL = ".,;:!?)]}'*_"
MOST_LINKS = 200


class Link(NamedTuple):
    """A link's *url*, and whether the HTML and the text have it."""

    url: str
    is_in_html: bool
    is_in_text: bool


def find_links(html: str, text: str) -> list[Link]:
    """Return the different links of both halves in their order, MOST_LINKS at most."""
    in_html = dict.fromkeys(url for url in _in_html(html) if url and not url.startswith("#"))
    in_text = dict.fromkeys(found.group().rstrip(AFTER_URL) for found in URL.finditer(text))
    return [Link(url, url in in_html, url in in_text) for url in list(in_html | in_text)[:MOST_LINKS]]


def _in_html(html: str) -> list[str]:
    return [unescape(next(filter(None, found.groups()), "")).strip() for found in HREF.finditer(html)]
