"""Move the CSS of ``<style>`` into ``style`` attributes, for clients that ignore ``<style>``: MAIL_INLINE_CSS."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from css_inline import CSSInliner


def inline_css(html: str) -> str:
    """Return *html* with its CSS in ``style`` attributes; rules such as @media stay in ``<style>``. Nothing is fetched."""
    return _inliner().inline(html) if "<style" in html.lower() else html


@cache
def _inliner() -> CSSInliner:
    from css_inline import CSSInliner  # noqa: PLC0415 - optional: only MAIL_INLINE_CSS needs it

    # It would fetch each stylesheet that the mail names, and drop @media, which cannot be an attribute.
    return CSSInliner(load_remote_stylesheets=False, keep_at_rules=True)
