"""How the desk shows values: times, durations, sizes, numbers, search texts; each a Jinja filter with a name from ``desk_``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from markupsafe import Markup

from ..store.reading.search import quoted

if TYPE_CHECKING:
    from jinja2 import Environment

UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"))
# Below this, in seconds, a moment is "now".
NOW = 5
# Shorter durations are shown in milliseconds.
ONE_SECOND = 1.0
STEP = 1024


def ago(moment: datetime, now: datetime | None = None) -> str:
    """Return how long ago *moment* was, or how far ahead it is: "2 minutes ago", "in 3 hours"."""
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    if abs(seconds) < NOW:
        return "now"
    words = duration(timedelta(seconds=abs(seconds)))
    return f"{words} ago" if seconds > 0 else f"in {words}"


def duration(length: timedelta | float) -> str:
    """Return *length*, a timedelta or seconds, in its largest unit: "2 minutes", "41 ms"."""
    seconds = length.total_seconds() if isinstance(length, timedelta) else length
    for size, name in UNITS:
        if seconds >= size:
            return _count(int(seconds // size), name)
    return f"{seconds * 1000:.0f} ms" if seconds < ONE_SECOND else _count(int(seconds), "second")


def when(moment: datetime | None) -> Markup:
    """Return a <time> with how long ago *moment* was; the exact moment appears on hover, and to a screen reader."""
    if moment is None:
        return Markup("–")  # noqa: RUF001 - an empty cell
    exact = moment.astimezone(UTC)
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(
        exact.isoformat(timespec="seconds"), exact.strftime("%a %d %b %Y, %H:%M:%S"), ago(moment)
    )


def number(value: int) -> str:
    """Return *value* with a comma between thousands."""
    return f"{value:,}"


def size(value: int) -> str:
    """Return *value*, a number of bytes, in its largest unit."""
    if value < STEP:
        return _count(value, "byte")
    kilobytes = value / STEP
    return f"{kilobytes:.1f} KB" if kilobytes < STEP else f"{kilobytes / STEP:.1f} MB"


def _count(value: int, noun: str) -> str:
    return f"{value} {noun}" if value == 1 else f"{value} {noun}s"


def add_filters(environment: Environment) -> None:
    """Add the filters to *environment*."""
    for function in (ago, duration, when, number, size, quoted):
        environment.filters[f"desk_{function.__name__}"] = function
