"""Parameter types that click lacks: an email's ID, an age, a moment, headers, and template variables."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import click

from ..settings import duration

# The largest BIGINT.
LARGEST_ID = 2**63 - 1

LIMIT = click.IntRange(1, 1000)

email_id = click.argument("email_id", metavar="ID", type=click.IntRange(1, LARGEST_ID))


class Age(click.ParamType):  # type: ignore[type-arg] # generic only for mypy
    """A duration such as 30d, 12h or "30 days"."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Return the timedelta."""
        try:
            return duration(value)
        except ValueError:
            self.fail(f"{value!r} is not a duration: write it as 30d, 12h or 45m", param, ctx)


class Moment(click.ParamType):  # type: ignore[type-arg] # generic only for mypy
    """A date and time such as 2026-12-24T08:00, or with a UTC offset: 2026-12-24T08:00+01:00."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the aware datetime; without an offset, the value is local time."""
        try:
            return datetime.fromisoformat(value).astimezone()
        except (ValueError, OverflowError, OSError):
            self.fail(f"{value!r} is not a time: write it as 2026-12-24T08:00 or 2026-12-24T08:00+01:00", param, ctx)


def headers(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Return the headers that ``Name: value`` lines define: a callback for an option."""
    found: dict[str, str] = {}
    for line in values:
        name, colon, value = line.partition(":")
        if not colon or not name.strip() or name.strip() in found:
            message = f"{line!r}: write each header once, as 'Name: value'"
            raise click.BadParameter(message)
        found[name.strip()] = value.strip()
    return found


def variables(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Return the template variables that ``name=value`` pairs define: a callback for an option."""
    pairs = [value.partition("=") for value in values]
    for name, equals, _text in pairs:
        if not equals or not name.isidentifier():
            message = f"{name!r}: write each variable as name=value"
            raise click.BadParameter(message)
    return {name: value for name, _, value in pairs}
