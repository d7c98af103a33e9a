"""The commands that only read: list, show, why, health."""

from __future__ import annotations

import click

from ..message.address import parse
from ..state import current_state
from ..store.models import Email, Status
from ..store.operations.overview import newest_emails, newest_to, overview
from .group import mail_cli, open_session
from .parameters import LIMIT, email_id
from .printing import exit_if_unhealthy, local_time, print_email


@mail_cli.command("list")
@click.option("--status", type=click.Choice([status.value for status in Status]), help="Only emails with this status.")
@click.option("-n", "--number", type=LIMIT, default=20, show_default=True, help="Maximum number of emails, newest first.")
def list_command(status: str | None, number: int) -> None:
    """List the newest emails."""
    for email in newest_emails(open_session(), number, Status(status) if status else None):
        created = local_time(email.created_at)
        click.echo(f"{email.id:>8}  {email.status:<9}  {created}  {email.recipient:<32}  {email.subject}")


@mail_cli.command("show")
@email_id
def show_command(email_id: int) -> None:
    """Show the history of one email and what happens next."""
    email = open_session().get(Email, email_id)
    if email is None:
        message = f"there is no email {email_id}: flask mail list shows the newest"
        raise click.ClickException(message)
    print_email(email)


@mail_cli.command("why")
@click.argument("address")
@click.option("-n", "--number", type=LIMIT, default=10, show_default=True, help="Maximum number of emails, newest first.")
def why_command(address: str, number: int) -> None:
    """Show the history of the emails to ADDRESS.

    It answers "did she get it?". Upper and lower case are the same.
    """
    emails = newest_to(open_session(), parse(address, "the address").envelope, number)
    if not emails:
        message = "the outbox has no email to this address: none was ever enqueued, or flask mail purge has deleted it"
        raise click.ClickException(message)
    for position, email in enumerate(emails):
        if position:
            click.echo()
        print_email(email)


@mail_cli.command("health")
def health_command() -> None:
    """Say whether email can be sent and how much waits.

    Exits with code 1 if it cannot, and says why and since when.
    """
    found = overview(current_state().engine)
    for status, number in found.counts.items():
        click.echo(f"{status:<10}{number:>8}")
    if found.oldest_due is not None:
        click.echo(f"the oldest waiting email has been due since {local_time(found.oldest_due)}")
    for remark in found.remarks:
        click.echo(remark)
    exit_if_unhealthy(found.health)
    click.echo("email can be sent")
