"""What several commands print: counts, times, one email, and the state of the SMTP server."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from ..store.operations.history import timeline

if TYPE_CHECKING:
    from datetime import datetime

    from ..store.models import Email, Health


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


def exit_if_unhealthy(health: Health | None) -> None:
    """If no email can be sent, print why and exit with code 1."""
    if health is not None:
        cause = "our own configuration is refused" if health.ours else "the server cannot be used"
        since, next_try = local_time(health.since), local_time(health.next_try_at)
        click.echo(f"no email can be sent since {since}, {cause}: {health.reason}; next try at {next_try}", err=True)
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
