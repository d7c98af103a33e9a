"""Writes docs/benchmarks.md, part by part: a part that has run replaces its own section, and leaves the others as they are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bench.chart import draw
from bench.machine import describe
from tests.servers import ROOT

if TYPE_CHECKING:
    from bench.section import Section

PAGE, CHART = ROOT / "docs/benchmarks.md", ROOT / "docs/benchmarks.svg"
INTRODUCTION = """\
# Benchmarks

`make bench` writes this page; do not edit it by hand. All contenders send the same small email, text and HTML rendered from one
pair of templates, to the same sink on the same machine. They take turns in each round, in an order that changes. The figures
are medians, beside them the smallest and the largest value. Each email has a number, and after each round the sink's emails are
counted: a round in which one was lost or came twice does not count, and the table says so. Peers are configured as their
documentation says; if it leaves a choice, the faster option is used. Compare ratios, not rates: the rates depend on this
machine and this day.

![How fast a backlog goes out](benchmarks.svg)

```console
make bench                      # every part
make bench ONLY="drain far"     # some of them
make bench ROUNDS=9             # more rounds
```
"""


def write(section: Section, placement: str, rounds: int, order: tuple[str, ...]) -> None:
    """Put *section* into the page, at its place in *order*, and draw its chart where it has one."""
    parts = _read()
    parts["machine"] = "\n".join(
        ["## Machine and versions", "", "| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in describe()), "", placement]
    )
    parts[section.name] = f"{section.as_markdown()}\n\n`make bench ONLY={section.name} ROUNDS={rounds}`"
    ordered = [name for name in ("machine", *order) if name in parts]
    bodies = [f"<!-- {name} -->\n{parts[name]}\n<!-- /{name} -->\n" for name in ordered]
    PAGE.write_text("\n".join([INTRODUCTION, *bodies]))
    if section.bars:
        CHART.write_text(draw(section.bars, "Mails a second from a backlog, one worker"))


def _read() -> dict[str, str]:
    """Return the sections that are there."""
    text = PAGE.read_text() if PAGE.is_file() else ""
    return dict(re.findall(r"<!-- (\w+) -->\n(.*?)\n<!-- /\1 -->", text, re.DOTALL))
