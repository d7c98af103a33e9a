"""Draws the bars of a part, on a logarithmic scale, as an SVG that can be read in light and in dark."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape

from bench.samples import Samples, show

WIDTH, LEFT, RIGHT, TOP, ROW, BAR = 760, 216, 70, 64, 26, 16
STYLE = """\
  <style>
    text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2933; }
    .title { font-weight: 600; font-size: 15px; }
    .small { fill: #5f6c78; font-size: 12px; }
    .grid { stroke: #d9dee3; }
    .bar { fill: #9aa8b4; }
    .ours { fill: #1f7a83; }
    .spread { stroke: #1f2933; stroke-width: 1.5; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6eaee; }
      .small { fill: #9fb0bd; }
      .grid { stroke: #3a444d; }
      .bar { fill: #66757f; }
      .ours { fill: #4fb3bd; }
      .spread { stroke: #e6eaee; }
    }
  </style>"""


def draw(bars: Mapping[str, Samples], title: str) -> str:
    """Return the SVG: the fastest first, each bar as long as its median, a line through its end from slowest to fastest round."""
    there = {name: one for name, one in bars.items() if one.values}
    ordered = sorted(there.items(), key=lambda item: -item[1].median)
    most = math.ceil(math.log10(max(one.high for one in there.values())))
    height = TOP + ROW * len(ordered) + 30
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"  <title>{escape(title)}</title>",
        STYLE,
        f'  <text class="title" x="8" y="24">{escape(title)}</text>',
        '  <text class="small" x="8" y="44">logarithmic scale; the thin line reaches from the slowest round to the fastest</text>',
    ]
    for power in range(most + 1):
        lines += _grid(_x(10**power, most), height - 26, f"{10**power:,}")
    for index, (name, samples) in enumerate(ordered):
        lines += _bar(TOP + index * ROW, name, samples, most)
    return "\n".join([*lines, "</svg>", ""])


def _x(value: float, most: int) -> float:
    """Return where *value* lies: 1 mail a second at the left, ten to the *most* at the right."""
    return LEFT + (WIDTH - LEFT - RIGHT) * math.log10(max(value, 1.0)) / most


def _grid(x: float, bottom: float, label: str) -> list[str]:
    return [
        f'  <line class="grid" x1="{x:.1f}" y1="{TOP - 6}" x2="{x:.1f}" y2="{bottom:.1f}"/>',
        f'  <text class="small" x="{x:.1f}" y="{bottom + 16:.1f}" text-anchor="middle">{label}</text>',
    ]


def _bar(top: float, name: str, samples: Samples, most: int) -> list[str]:
    end, middle = _x(samples.median, most), top + BAR / 2
    kind = "ours" if name.startswith("Flask-Outbox") else "bar"
    low, high = _x(samples.low, most), _x(samples.high, most)
    return [
        f'  <text x="{LEFT - 8}" y="{top + BAR - 3:.1f}" text-anchor="end">{escape(name)}</text>',
        f'  <rect class="{kind}" x="{LEFT}" y="{top}" width="{max(end - LEFT, 1):.1f}" height="{BAR}" rx="2"/>',
        f'  <line class="spread" x1="{low:.1f}" y1="{middle}" x2="{high:.1f}" y2="{middle}"/>',
        f'  <text x="{max(end, high) + 6:.1f}" y="{top + BAR - 3:.1f}">{show(samples.median)}</text>',
    ]
