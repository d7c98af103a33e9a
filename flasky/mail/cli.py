"""``flask mail ...``: send, look at and deliver mail from the command line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click
import sqlalchemy as sa
from flask import current_app
from flask.cli import AppGroup

from flasky.mail.compose import compose
from flasky.mail.enqueue import enqueue
from flasky.mail.errors import InvalidMessage
from flasky.mail.models import Attempt, Email, Health, Status

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

mail_cli = AppGroup("mail", help="Send mail, and see what became of it.")


def _session() -> Session:
    session: Session = current_app.extensions["sqlalchemy"].session()
    return session


def _variable(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = [value.partition("=") for value in values]
    for name, equals, _rest in pairs:
        if not equals or not name.isidentifier():
            message = f"{name!r}: give each variable as name=value"
            raise click.BadParameter(message)
    return {name: value for name, _, value in pairs}


@mail_cli.command("send")
@click.argument("to")
@click.argument("template")
@click.option("-s", "--subject", required=True, help="Subject; the configured prefix is put before it.")
@click.option("-c", "--context", callback=_variable, multiple=True, metavar="KEY=VALUE", help="A variable for the template.")
def send_command(to: str, template: str, subject: str, context: dict[str, str]) -> None:
    """Put an email from TEMPLATE to TO into the outbox."""
    try:
        emails = enqueue(compose(to, subject, template, **context))
    except InvalidMessage as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"email {emails[0].id} is in the outbox")


@mail_cli.command("list")
@click.option("--status", type=click.Choice([status.value for status in Status]), help="Only emails in this state.")
@click.option("-n", "--number", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many, newest first.")
def list_command(status: str | None, number: int) -> None:
    """List the newest emails."""
    query = sa.select(Email).order_by(Email.id.desc()).limit(number)
    if status:
        query = query.where(Email.status == status)
    for email in _session().scalars(query):
        click.echo(f"{email.id:>8}  {email.status:<9}  {_time(email.created_at)}  {email.recipient:<32}  {email.subject}")


@mail_cli.command("show")
@click.argument("email_id", metavar="ID", type=int)
def show_command(email_id: int) -> None:
    """Tell the whole story of one email: what happened, and what happens next."""
    email = _session().get(Email, email_id)
    if email is None:
        message = f"there is no email {email_id}; flask mail list shows the newest"
        raise click.ClickException(message)
    for name, value in _facts(email):
        click.echo(f"{name:<12}{value}")
    click.echo()
    for when, what in timeline(email):
        click.echo(f"{when}  {what}")


@mail_cli.command("deliver")
def deliver_command() -> None:
    """Send what is due now, in the foreground."""
    count = current_app.extensions["mail"].deliver()
    session = _session()
    waiting = session.scalar(sa.select(sa.func.count()).where(Email.status.in_([Status.QUEUED, Status.SENDING])))
    click.echo(f"{count} emails settled, {waiting} waiting")
    health = session.get(Health, 1)
    if health is not None:
        click.echo(f"no email can be sent since {_time(health.since)}: {health.reason}", err=True)
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


def timeline(email: Email) -> list[tuple[str, str]]:
    """Return what happened to *email*, oldest first, and what happens next, as pairs of a time and a sentence."""
    story = [(_time(email.created_at), "put into the outbox")]
    story += [(_time(one.started_at), _tell(one)) for one in email.attempts]
    status = Status(email.status)
    if status is Status.QUEUED:
        story.append((_time(email.send_at), "next try"))
    elif status is Status.SENDING and email.lease_until:
        story.append((_time(email.lease_until), "a worker has it; if that one dies, it goes out again after this time"))
    elif email.finished_at and status is not Status.SENT:
        story.append((_time(email.finished_at), f"{status.value}: {email.reply or 'no reply'}"))
    return story


def _tell(one: Attempt) -> str:
    said = " ".join(str(word) for word in (one.code, one.reply) if word)
    return f"{one.outcome} after {one.seconds:.2f} s by {one.worker}: {said}"


def _time(moment: datetime) -> str:
    return moment.astimezone().isoformat(" ", "seconds")
