"""The commands that put email into the outbox: send, send-many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..api import compose, enqueue
from ..bulk.merge import MailMerge
from ..bulk.recipients import Recipients, seekable
from ..bulk.sending import Sending, default_key
from ..state import current_state
from ..store.models import Priority
from .group import mail_cli
from .parameters import Moment, headers, variables
from .progress import store

if TYPE_CHECKING:
    from typing import BinaryIO


@mail_cli.command("send")
@click.argument("to")
@click.argument("template")
@click.option("-s", "--subject", required=True, help="Subject, without the configured prefix.")
@click.option("-c", "--context", callback=variables, multiple=True, metavar="KEY=VALUE", help="A variable for the template.")
def send_command(to: str, template: str, subject: str, context: dict[str, str]) -> None:
    """Put an email to TO, rendered from TEMPLATE, into the outbox."""
    emails = enqueue(compose(to, subject, template, **context))
    click.echo(f"email {emails[0].id} is in the outbox")


@mail_cli.command("send-many")
@click.argument("template")
@click.argument("recipients", type=click.File("rb"))
@click.option("-s", "--subject", required=True, help="Subject with variables, such as 'Hello {{ name }}', without the prefix.")
@click.option("--key", help="Name of the sending; nobody gets two emails under one name.  [default: from TEMPLATE and subject]")
@click.option(
    "--priority",
    type=click.Choice([priority.name.lower() for priority in Priority]),
    default="bulk",
    show_default=True,
    help="Urgent and normal email goes out before bulk.",
)
@click.option("--send-at", type=Moment(), help="Time to send: 2026-12-24T08:00; local time unless it has a UTC offset.")
@click.option("--header", "extra", callback=headers, multiple=True, metavar="'NAME: VALUE'", help="A header, with variables.")
@click.option("--dry-run", is_flag=True, help="Render and check every email, store none, and show the first.")
def send_many_command(
    template: str, recipients: BinaryIO, subject: str, key: str | None, extra: dict[str, str], **options: Any
) -> None:
    """Send a mail merge: one email from TEMPLATE to each of RECIPIENTS.

    RECIPIENTS is a CSV file in UTF-8, or - for standard input. Its first line names the columns: email is the address, and every
    column is a variable in the template, in the subject and in the headers. Invalid lines are reported by number and skipped.

    Nobody gets a second copy if you run the same command again: after an interruption it continues, and with a longer file it
    sends to the new recipients.
    """
    options["priority"] = Priority[options["priority"].upper()]
    merge = MailMerge(subject, template, extra)
    state = current_state()
    sending = Sending(state.engine, merge, default_key(template, subject) if key is None else key, **options)
    with seekable(recipients) as file:
        store(sending, Recipients(file), state)
