"""The types of parameters that click does not have: an email's ID, an age, a moment, and template variables."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

import click

# The largest BIGINT.
LARGEST_ID = 2**63 - 1
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

LIMIT = click.IntRange(1, 1000)

email_id = click.argument("email_id", metavar="ID", type=click.IntRange(1, LARGEST_ID))


class Age(click.ParamType):  # type: ignore[type-arg] # generic only for mypy
    """A duration such as 30d, 12h or "30 days"."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Return the timedelta."""
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"(\d{1,5})\s*(s|m|h|d|second|minute|hour|day)s?", value)
        if found is None:
            self.fail(f"{value!r} is not a duration: write it as 30d, 12h or 45m", param, ctx)
        return timedelta(**{UNITS[found.group(2)[0]]: int(found.group(1))})


class Moment(click.ParamType):  # type: ignore[type-arg] # generic only for mypy
    """A date and time such as 2026-12-24T08:00, or with a UTC offset: 2026-12-24T08:00+01:00."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the aware datetime; without an offset, the value is local time."""
        try:
            return datetime.fromisoformat(value).astimezone()
        except (ValueError, OverflowError, OSError):
            self.fail(f"{value!r} is not a time: write it as 2026-12-24T08:00 or 2026-12-24T08:00+01:00", param, ctx)


def variables(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Return the template variables that ``name=value`` pairs define: a callback for an option."""
    pairs = [value.partition("=") for value in values]
    for name, equals, _text in pairs:
        if not equals or not name.isidentifier():
            message = f"{name!r}: write each variable as name=value"
            raise click.BadParameter(message)
    return {name: value for name, _, value in pairs}
