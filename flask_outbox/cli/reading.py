"""The commands that only read: list, show, why, health."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from ..message.address import parse
from ..state import current_state
from ..store.models import Email, Status
from ..store.reading.newest import newest_emails, newest_to
from ..store.status.counts import count_by_status
from .documents import describe_email, describe_history
from .group import mail_cli, open_session
from .parameters import LIMIT, email_id
from .printing import as_json_option, exit_if_unhealthy, local_time, print_email, print_json


@mail_cli.command("list")
@click.option("--status", type=click.Choice([status.value for status in Status]), help="Only emails with this status.")
@click.option("-n", "--number", type=LIMIT, default=20, show_default=True, help="Maximum number of emails, newest first.")
@as_json_option
def list_command(*, status: str | None, number: int, as_json: bool) -> None:
    """List the newest emails."""
    emails = newest_emails(open_session(), number, Status(status) if status else None)
    if as_json:
        print_json({"emails": [describe_email(email) for email in emails]})
        return
    for email in emails:
        created = local_time(email.created_at)
        click.echo(f"{email.id:>8}  {email.status:<9}  {created}  {email.recipient:<32}  {email.subject}")


@mail_cli.command("show")
@email_id
@as_json_option
def show_command(*, email_id: int, as_json: bool) -> None:
    """Show the history of one email and what happens next."""
    email = open_session().get(Email, email_id)
    if email is None:
        message = f"there is no email {email_id}: flask mail list shows the newest"
        raise click.ClickException(message)
    if as_json:
        print_json(describe_history(email))
        return
    print_email(email)


@mail_cli.command("why")
@click.argument("address")
@click.option("-n", "--number", type=LIMIT, default=10, show_default=True, help="Maximum number of emails, newest first.")
@as_json_option
def why_command(*, address: str, number: int, as_json: bool) -> None:
    """Show the history of the emails to ADDRESS.

    It answers "did she get it?". Upper and lower case are the same.
    Exits with code 1 if the outbox has none.
    """
    emails = newest_to(open_session(), parse(address, "the address").envelope, number)
    if as_json:
        print_json({"emails": [describe_history(email) for email in emails]})
        sys.exit(not emails)
    if not emails:
        message = "the outbox has no email to this address: none was ever enqueued, or flask mail purge has deleted it"
        raise click.ClickException(message)
    for position, email in enumerate(emails):
        if position:
            click.echo()
        print_email(email)


@mail_cli.command("health")
@as_json_option
def health_command(*, as_json: bool) -> None:
    """Say whether email goes out, and if not, why and what to do.

    Exits with code 1 if mail is not going out and somebody should look: no worker has tried for a minute although mail is due, the
    server has deferred every email for ten minutes, the server or the database cannot be used, or the server refuses our
    configuration. Exits with code 0 otherwise.
    """
    state = current_state()
    found = state.health()
    if as_json:
        print_json({"is_healthy": found.is_healthy, **asdict(found)})
        sys.exit(not found.is_healthy)
    if not any(problem.reason == "database" for problem in found.problems):
        for status, number in count_by_status(state.engine).items():
            click.echo(f"{status:<10}{number:>8}")
    if found.due_since is not None:
        click.echo(f"the email that goes out next has been due since {local_time(found.due_since)}")
    for remark in found.remarks:
        click.echo(remark)
    exit_if_unhealthy(found.problems)
    click.echo("email can be sent")
