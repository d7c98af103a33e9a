"""``python -m scripts.caniemail FILE``: extract what lint needs from caniemail's data, caniemail.json in its npm package.

Caniemail (https://www.caniemail.com, MIT) records which email client supports which feature of HTML and CSS. The extract names
those that one of the four largest clients lacks, and how to recognize them in a mail.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent.parent / "flask_outbox" / "previews" / "lint" / "support.tsv"
CLIENTS = {
    "Gmail": ("gmail", ("desktop-webmail", "ios", "android")),
    "Outlook on Windows": ("outlook", ("windows",)),
    "Apple Mail": ("apple-mail", ("macos", "ios")),
    "Yahoo": ("yahoo", ("desktop-webmail", "ios", "android")),
}
# How to recognize a feature whose name is not its pattern.
PATTERNS = {
    "css-at-font-face": "at:font-face",
    "css-at-import": "at:import",
    "css-at-keyframes": "at:keyframes",
    "css-at-media": "at:media",
    "css-at-media-hover": "media:hover media:any-hover",
    "css-at-media-orientation": "media:orientation",
    "css-at-media-prefers-color-scheme": "media:prefers-color-scheme",
    "css-at-media-prefers-reduced-motion": "media:prefers-reduced-motion",
    "css-at-supports": "at:supports",
    "css-block-inline-size": "property:block-size property:inline-size",
    "css-background-image": "property:background-image value:background=url(",
    "css-border-inline-block": "property:border-inline property:border-block",
    "css-border-inline-block-individual": "property:border-inline-start property:border-inline-end",
    "css-border-radius-logical": "property:border-start-start-radius property:border-end-end-radius",
    "css-inert-attribute": "attribute:inert",
    "css-scroll-snap": "property:scroll-snap-type property:scroll-snap-align",
    "css-column-layout-properties": "property:columns property:column-width property:column-rule property:column-span",
    "css-color-scheme": "property:color-scheme",
    "css-conic-gradient": "function:conic-gradient",
    "css-display-flex": "value:display=flex value:display=inline-flex",
    "css-display-grid": "value:display=grid value:display=inline-grid",
    "css-flex-direction": "property:flex-direction",
    "css-flex-wrap": "property:flex-wrap property:flex-flow",
    "css-function-clamp": "function:clamp",
    "css-function-light-dark": "function:light-dark",
    "css-function-max": "function:max",
    "css-function-min": "function:min",
    "css-gap": "property:gap property:column-gap property:row-gap",
    "css-grid-template": "property:grid-template property:grid-template-columns property:grid-template-rows",
    "css-intrinsic-size": "value:width=fit-content value:width=min-content value:width=max-content",
    "css-left-right-top-bottom": "property:left property:right property:top property:bottom",
    "css-linear-gradient": "function:linear-gradient",
    "css-margin-block-start-end": "property:margin-block-start property:margin-block-end",
    "css-margin-inline-block": "property:margin-inline property:margin-block",
    "css-margin-inline-start-end": "property:margin-inline-start property:margin-inline-end",
    "css-modern-color": "function:lch function:oklch function:lab function:oklab",
    "css-padding-block-start-end": "property:padding-block-start property:padding-block-end",
    "css-padding-inline-block": "property:padding-inline property:padding-block",
    "css-padding-inline-start-end": "property:padding-inline-start property:padding-inline-end",
    "css-radial-gradient": "function:radial-gradient",
    "css-rgba": "function:rgba",
    "css-sytem-ui": "",
    "css-unit-calc": "function:calc",
    "css-variables": "function:var",
    "html-anchor-links": "anchor:#",
    "html-button-submit": "element:button",
    "html-image-maps": "attribute:usemap",
    "html-input-text": "element:input",
    "html-loading-attribute": "attribute:loading",
    "html-meta-color-scheme": "meta:color-scheme",
    "html-semantics": "element:article element:aside element:footer element:header element:main element:nav element:section",
    "html-srcset": "attribute:srcset",
    "image-base64": "image:data",
    "image-mp4": "image:mp4",
}
# Without these a mail is only plainer, or they are for screen readers: lint notes them.
PLAINER = {
    *("css-accent-color", "css-animation", "css-at-font-face", "css-at-keyframes", "css-at-media", "css-at-media-hover"),
    *("css-at-media-prefers-color-scheme", "css-at-media-prefers-reduced-motion", "css-at-media-orientation", "css-at-supports"),
    *("css-border-radius", "css-box-shadow", "css-box-sizing", "css-color-scheme", "css-cursor", "css-empty-cells"),
    *("css-font-kerning", "css-font-stretch", "css-font-size-adjust", "css-function-light-dark", "css-hyphens", "css-height"),
    *("css-hyphenate-character", "css-hyphenate-limit-chars", "css-min-height", "css-min-width", "css-orphans", "css-outline"),
    *("css-outline-offset", "css-overflow-wrap", "css-text-decoration-color", "css-text-decoration-line", "css-max-height"),
    *("css-text-decoration-skip-ink", "css-text-decoration-style", "css-text-decoration-thickness", "css-text-shadow"),
    *("css-text-underline-offset", "css-text-underline-position", "css-text-wrap", "css-transition", "css-user-select"),
    *("css-widows", "css-word-break", "css-word-spacing", "css-word-wrap", "css-opacity", "css-overflow", "css-table-layout"),
    *("css-pseudo-class-hover", "css-pseudo-class-focus", "css-pseudo-class-active", "css-pseudo-class-visited"),
    *("css-pseudo-class-link", "css-pseudo-class-focus-visible", "css-border-spacing", "css-visibility", "css-unit-rem"),
    *("html-abbr", "html-acronym", "html-bdi", "html-loading-attribute", "html-meta-color-scheme", "html-semantics"),
    *("html-target", "html-wbr", "html-aria-describedby", "html-aria-hidden", "html-aria-label", "html-aria-labelledby"),
    *("html-aria-live", "html-hidden"),
}
# Not in a mail's HTML, or in each.
LEFT_OUT = {
    "amp",
    "bimi",
    "html-doctype",
    "html-body",
    "css-unit-initial",
    "css-nesting",
    "css-inline-size",
    "css-border-inline-block-longhand",
}
HEAD = """\
# Features of HTML and CSS that one of the four largest clients lacks, extracted from the data of https://www.caniemail.com (MIT),
# last updated {date}, by scripts/caniemail.py. A client lacks what most of its tested platforms do not support.
# feature\tlevel\tpatterns\ttitle\tclients that lack it
"""


def lacking(feature: dict[str, Any]) -> list[str]:
    """Return the clients that lack *feature*, by its newest test on each platform."""
    return [name for name, (family, platforms) in CLIENTS.items() if _lacks(feature["stats"].get(family, {}), platforms)]


def _lacks(stats: dict[str, dict[str, str]], platforms: tuple[str, ...]) -> bool:
    newest = [list(stats[platform].values())[-1][0] for platform in platforms if stats.get(platform)]
    return 2 * newest.count("n") > len(newest)


def pattern(slug: str) -> str:
    """Return how to recognize a feature: by default, the slug names a property, an element, an attribute, and so on."""
    if slug in PATTERNS:
        return PATTERNS[slug]
    for prefix, kind in (
        ("css-pseudo-class-", "pseudo:"),
        ("css-pseudo-element-", "pseudo::"),
        ("css-unit-", "unit:"),
        ("css-selector-", ""),
        ("css-at-", ""),
        ("css-", "property:"),
        ("html-input-", ""),
        ("html-button-", ""),
        ("html-aria-", "attribute:aria-"),
        ("html-", "attribute:" if slug in {"html-hidden", "html-popover", "html-required", "html-target"} else "element:"),
        ("image-", "image:"),
    ):
        if slug.startswith(prefix):
            return f"{kind}{slug.removeprefix(prefix)}" if kind else ""
    return ""


def rows(data: list[dict[str, Any]]) -> list[str]:
    """Return a line for each feature that a client lacks and that can be recognized."""
    return [
        "\t".join(
            [
                feature["slug"],
                "note" if feature["slug"] in PLAINER else "warning",
                pattern(feature["slug"]),
                feature["title"].strip().removesuffix(" property").removesuffix(" CSS"),
                ", ".join(lacking(feature)),
            ]
        )
        for feature in data
        if feature["slug"] not in LEFT_OUT and pattern(feature["slug"]) and lacking(feature)
    ]


if __name__ == "__main__":
    found = json.loads(Path(sys.argv[1]).read_text())
    TARGET.write_text(HEAD.format(date=found["last_update_date"][:10]) + "\n".join(rows(found["data"])) + "\n")
