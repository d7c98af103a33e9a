"""Read a moment as an operator writes it: today, yesterday, 2026-11-01, 2026-11-01T08:00, 12h, "3 days"; in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from .words import NotUnderstood

HOW = (
    "write today, yesterday, a date such as 2026-11-01, a time such as 2026-11-01T08:00 (UTC), or an age such as 12h, 2d or "
    '"3 days"'
)
AGE = re.compile(r"(\d{1,6})\s*(m|mins?|minutes?|h|hours?|d|days?|w|weeks?)(\s+ago)?", re.IGNORECASE)
UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
# Python's first and last days, and a day to spare for arithmetic with time zones.
FIRST, LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


def read_moment(text: str, now: datetime) -> datetime:
    """Return the moment that *text* names, in UTC; a date means its first moment, an age the time so long before *now*."""
    lower = text.strip().lower()
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if lower in {"today", "yesterday"}:
        return midnight if lower == "today" else midnight - timedelta(days=1)
    age = AGE.fullmatch(lower)
    try:
        moment = now.astimezone(UTC) - int(age[1]) * UNITS[age[2][0]] if age else _read_iso(text.strip())
    except (ValueError, OverflowError):
        raise NotUnderstood(f'"{text}" is no time: {HOW}.') from None
    if not FIRST <= moment < LAST:
        raise NotUnderstood(f'"{text}" is no time at which an email was sent: {HOW}.')
    return moment


def _read_iso(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
