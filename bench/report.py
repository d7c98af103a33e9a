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

Written by `make bench`; nothing here is typed by hand. Everybody sends the same small mail, text and HTML rendered from one pair
of templates, to the same sink on the same machine. The contenders take turns round by round, in an order that changes; the
figures are medians, with the smallest and the largest beside them. Each letter has a number, and the sink's letters are counted
after each round: one in which a letter was lost or came twice does not count, and the table says so. Peers are set up as their
own documentation has it, and where that leaves a choice, the faster way. Compare ratios: the rates belong to this machine on that
day.

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
