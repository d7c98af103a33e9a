"""Draw a bar chart as SVG, inside the page: its colours are those of ``desk.css``, so they follow the reader's colour scheme.

With the standard library's ElementTree, which escapes whatever it is given. (pygal puts a script into each chart and takes 25 ms to
draw it; svg.py and drawsvg do not escape everything.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from xml.etree.ElementTree import Element, SubElement, tostring

from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Sequence

# In units of the drawing, which is scaled to the width that it has.
WIDTH, HEIGHT = 360, 150
LEFT, TOP, BOTTOM = 44, 10, 22
# Of the width that a bar has, so much is left free.
SPACE = 0.25
# The shortest bar of a value that is not zero.
SHORTEST = 2.0
# So many bars have a label under them.
LABELS = 4


class Bar(NamedTuple):
    """A bar: its *value*, the *label* under it, and the *title* that appears on hover; *is_known* is False without a value yet."""

    value: int
    label: str
    title: str
    is_known: bool = True


def draw(bars: Sequence[Bar], summary: str, kind: str) -> Markup:
    """Return the chart of *bars*, at least one; a screen reader reads *summary*. *kind* is the CSS class of the bars."""
    top = _round_up(max(bar.value for bar in bars))
    svg = Element(
        "svg",
        {"viewBox": f"0 0 {WIDTH} {HEIGHT}", "class": f"chart {kind}", "role": "img", "aria-label": summary, "focusable": "false"},
    )
    for share in (0, 0.5, 1):
        _draw_guide(svg, _height(share), top * share)
    width = (WIDTH - LEFT) / len(bars)
    for number, bar in enumerate(bars):
        _draw_bar(svg, bar, LEFT + number * width, width, bar.value / top)
        if number % -(-len(bars) // LABELS) == 0:
            _draw_text(svg, LEFT + number * width, HEIGHT - 5, bar.label, "start")
    return Markup(tostring(svg, encoding="unicode"))  # noqa: S704 - ElementTree has escaped it


def _round_up(value: int) -> int:
    """Return the next number from *value* on that is easy to read, and half of it too: 2, 4, 6, 8, 10, 20, 40, ..."""
    size: int = 10 ** (len(str(max(value, 1))) - 1)
    return next(top for top in (2 * size, 4 * size, 6 * size, 8 * size, 10 * size) if value <= top)


def _height(share: float) -> float:
    """Return where *share* of the largest value is, from above."""
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - share)


def _draw_guide(svg: Element, y: float, value: float) -> None:
    SubElement(svg, "line", {"x1": str(LEFT), "x2": str(WIDTH), "y1": f"{y:.1f}", "y2": f"{y:.1f}", "class": "guide"})
    _draw_text(svg, LEFT - 6, y + 4, _short(int(value)), "end")


def _draw_text(svg: Element, x: float, y: float, text: str, anchor: str) -> None:
    SubElement(svg, "text", {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor}).text = text


def _draw_bar(svg: Element, bar: Bar, x: float, width: float, share: float) -> None:
    """Draw a bar, and over it an invisible one of full height, so that also a short bar has its title on hover."""
    group = SubElement(svg, "g", {"class": "bar" if bar.is_known else "bar unknown"})
    SubElement(group, "title").text = bar.title
    place = {"x": f"{x + width * SPACE / 2:.1f}", "width": f"{width * (1 - SPACE):.1f}"}
    full = _height(0) - _height(1)
    height = max(full * share, SHORTEST if bar.value else 0.0) if bar.is_known else full
    SubElement(group, "rect", place | {"y": f"{_height(0) - height:.1f}", "height": f"{height:.1f}", "rx": "1.5"})
    SubElement(group, "rect", place | {"y": f"{_height(1):.1f}", "height": f"{full:.1f}", "class": "hover"})


def _short(value: int) -> str:
    """Return *value* in few letters: 400, 20k, 1M."""
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if value >= size and value % size == 0:
            return f"{value // size}{letter}"
    return str(value)
