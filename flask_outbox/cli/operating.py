"""The commands that change something: deliver, cancel, retry, purge."""

from __future__ import annotations

import getpass
from contextlib import closing
from typing import TYPE_CHECKING

import click

from ..state import current_state
from ..store.models import Status
from ..store.operations import bulk
from ..store.operations.actions import purge
from ..store.operations.operator import Operator, cancel_one, note_purge, retry_one
from ..store.status.counts import count_by_status
from .group import mail_cli
from .parameters import LARGEST_ID, Age, email_id
from .printing import count, exit_if_unhealthy

if TYPE_CHECKING:
    from datetime import timedelta


@mail_cli.command("deliver")
def deliver_command() -> None:
    """Send due email now, in the foreground.

    Exits with code 1 if due email cannot be sent. Run it from cron if no worker and no background thread delivers.
    """
    state = current_state()
    # An operator who runs this wants a try now, even during a pause.
    state.end_pause()
    with closing(state.make_couriers()) as couriers:
        settled = couriers.run()
    counts = count_by_status(state.engine)
    click.echo(f"{count(settled, 'email')} settled, {counts.get(Status.QUEUED, 0) + counts.get(Status.SENDING, 0)} waiting")
    exit_if_unhealthy(problem for problem in state.health().problems if problem.reason in {"server", "configuration"})
    if couriers.obstacle:
        raise click.ClickException(couriers.obstacle)


@mail_cli.command("cancel")
@email_id
def cancel_command(email_id: int) -> None:
    """Cancel a waiting email."""
    cancel_one(current_state().engine, email_id, _operator())
    click.echo(f"email {email_id} cancelled")


@mail_cli.command("retry")
@click.argument("email_id", metavar="[ID]", type=click.IntRange(1, LARGEST_ID), required=False)
@click.option("--failed", "status", flag_value=Status.FAILED.value, help="Retry every failed email.")
@click.option("--held", "status", flag_value=Status.HELD.value, help="Retry every held email.")
def retry_command(email_id: int | None, status: str | None) -> None:
    """Queue a failed, expired, cancelled or held email again."""
    if (email_id is None) == (status is None):
        message = "give either an ID, --failed or --held"
        raise click.UsageError(message)
    state, number = current_state(), 1
    if status is not None:
        expected = count_by_status(state.engine).get(status, 0)
        number = bulk.run(state.engine, "retry", f"status:{status}", expected, _operator())
    else:
        retry_one(state.engine, email_id or 0, _operator())
    click.echo(f"{count(number, 'email')} queued again")
    if number:
        state.ring()


@mail_cli.command("purge")
@click.option("--older-than", required=True, type=Age(), help="Minimum age since the email was finished: 30d, 12h.")
def purge_command(older_than: timedelta) -> None:
    """Delete finished emails.

    It takes small transactions, so that it does not block delivery. After that, flask mail send-many no longer knows who has
    got an email.
    """
    engine = current_state().engine
    number = sum(purge(engine, older_than))
    if number:
        age = str(older_than).removesuffix(", 0:00:00")
        note_purge(engine, number, f"finished more than {age} before", _operator())
    click.echo(f"{count(number, 'email')} deleted")


def _operator() -> Operator:
    """Return who runs the command, for the audit: the user of this machine, if it has a name."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = "somebody"
    return Operator(name, click.get_current_context().command_path)
