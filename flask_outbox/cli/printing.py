"""What several commands print: counts, times, one email, and why no mail goes out."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from ..store.reading.history import timeline

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..store.models import Email
    from ..store.status.health import Problem


as_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document; times are in UTC.")


def print_json(document: dict[str, Any]) -> None:
    """Print *document* as JSON, with its times in UTC."""
    click.echo(json.dumps(document, default=_utc, ensure_ascii=False, indent=2))


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()


def count(number: int, noun: str) -> str:
    """Return the number and the noun, in the plural if necessary."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def local_time(moment: datetime) -> str:
    """Return *moment* in this machine's time zone."""
    return moment.astimezone().isoformat(" ", "seconds")


def print_email(email: Email) -> None:
    """Print the facts and the history of one email."""
    for name, value in _facts(email):
        click.echo(f"{name:<12}{value}")
    click.echo()
    for when, what in timeline(email):
        click.echo(f"{local_time(when)}  {what}")


def exit_if_unhealthy(problems: Iterable[Problem]) -> None:
    """If mail does not go out, print each reason with what to do, on one line, and exit with code 1."""
    lines = [
        f"no email can be sent{f' since {local_time(problem.since)}' if problem.since else ''}, {problem.what}. {problem.remedy}"
        for problem in problems
    ]
    for line in lines:
        click.echo(line, err=True)
    if lines:
        sys.exit(1)


def _facts(email: Email) -> list[tuple[str, Any]]:
    return [
        ("email", email.id),
        ("status", email.status),
        ("to", email.recipient),
        ("from", email.content.sender),
        ("subject", email.subject),
        ("message-id", email.message_id),
        ("size", f"{email.content.size} bytes"),
    ]
