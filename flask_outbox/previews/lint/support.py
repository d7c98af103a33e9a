"""Which HTML and CSS the largest clients do not support: ``support.tsv``, facts from caniemail.com, looked up in a mail."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from .css import AtRule, Declaration, Selector, split_css
from .finding import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .document import Document, Element

# The look-behinds also keep a long value from being scanned again from each of its characters.
FUNCTION = re.compile(r"(?<![a-z-])([a-z-]+)\(")
UNIT = re.compile(r"(?<![\w#.-])-?[\d.]+([a-z]+)")
PSEUDO = re.compile(r"(::?[a-z-]+)")
MEDIA = re.compile(r"\(\s*([a-z-]+)")
IMAGE = re.compile(r"data:image/(?P<type>\w+)|\.(?P<suffix>\w+)(?:[?#].*)?$", re.IGNORECASE)
OLD_PSEUDO_ELEMENTS = {":after", ":before", ":first-letter", ":first-line"}
LAYOUT = "Lay the mail out with a table, or see that it reads well one below the other."
REMEDIES = {
    "css-display-flex": LAYOUT,
    "css-display-grid": LAYOUT,
    "css-float": LAYOUT,
    "css-position": LAYOUT,
    "css-background-image": "Set a background color, too, on which the text is readable.",
    "css-linear-gradient": "Set a background color, too, on which the text is readable.",
    "css-variables": "Write the value itself.",
    "css-rgba": "Write the color as #rrggbb.",
    "html-svg": "Use a PNG.",
    "html-link": "Put the CSS into <style> or style attributes: MAIL_INLINE_CSS does that.",
    "image-base64": "Attach the image with a Content-ID, or link to it.",
    "image-webp": "Use a PNG or a JPEG.",
}
PLAINER = "Nothing, if the mail reads well without it."
OTHERWISE = "See that the mail reads well without it, or use something else."


@dataclass(frozen=True)
class Feature:
    """A feature that some of the largest clients lack: its name on caniemail.com, how serious that is, and which clients."""

    slug: str
    level: Level
    title: str
    clients: str


@cache
def features() -> dict[str, Feature]:
    """Return the features by the patterns that recognize them."""
    found: dict[str, Feature] = {}
    for line in (files(__package__) / "support.tsv").read_text("utf-8").splitlines():
        if not line.startswith("#"):
            slug, level, patterns, title, clients = line.split("\t")
            found |= dict.fromkeys(patterns.split(), Feature(slug, Level(level), title, clients))
    return found


def check_support(document: Document) -> Iterator[Finding]:
    """Yield a finding for each feature of *document* that a large client lacks, where it occurs first."""
    lines: dict[Feature, list[int]] = defaultdict(list)
    for pattern, line in _patterns(document):
        if pattern in features():
            lines[features()[pattern]].append(line)
    for feature, where in lines.items():
        times = "" if len(where) == 1 else f" (used {len(where)} times)"
        what = f"{feature.title} does not work in {_and(feature.clients)}{times}"
        remedy = REMEDIES.get(feature.slug) or (PLAINER if feature.level is Level.NOTE else OTHERWISE)
        source = f"https://www.caniemail.com/features/{feature.slug}/"
        yield Finding(feature.level, feature.slug, "html", min(where), what, remedy, source)


def _and(names: str) -> str:
    return " and ".join(names.rsplit(", ", 1))


def _patterns(document: Document) -> Iterator[tuple[str, int]]:
    for element in document.elements:
        for pattern in _element_patterns(element):
            yield pattern, element.line
    for css, line in document.sheets:
        for piece in split_css(css, line):
            for pattern in _css_patterns(piece):
                yield pattern, piece.line


def _element_patterns(element: Element) -> Iterator[str]:
    yield f"element:{element.tag}"
    yield from (f"attribute:{name}" for name in element.attributes)
    if element.tag == "meta":
        yield f"meta:{element.attributes.get('name', '').lower()}"
    if element.tag == "a" and re.fullmatch(r"#.+", element.attributes.get("href", "")):
        yield "anchor:#"
    if element.tag == "img":
        source = element.attributes.get("src", "").strip()
        if source.lower().startswith("data:"):
            yield "image:data"
        image = IMAGE.search(source)
        if image:
            yield f"image:{(image['type'] or image['suffix']).lower()}"


def _css_patterns(piece: AtRule | Selector | Declaration) -> Iterator[str]:
    match piece:
        case AtRule(name, prelude):
            yield f"at:{name}"
            yield from (f"media:{feature}" for feature in MEDIA.findall(prelude))
        case Selector(text):
            for pseudo in PSEUDO.findall(text.lower()):
                yield f"pseudo:{pseudo[1:]}" if pseudo not in OLD_PSEUDO_ELEMENTS else f"pseudo:{pseudo}"
        case Declaration(name, value):
            yield f"property:{name}"
            yield from (f"function:{function}" for function in FUNCTION.findall(value))
            yield from (f"unit:{unit}" for unit in UNIT.findall(re.sub(r"\([^()]*\)|\"[^\"]*\"|'[^']*'", "", value)))
            yield from (f"value:{name}={word}" for word in re.findall(r"[a-z-]+\(?", value))
