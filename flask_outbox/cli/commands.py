"""``flask mail ...``: send mail, see what became of it, and decide what becomes of it."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click
import sqlalchemy as sa
from flask import current_app
from flask.cli import AppGroup
from sqlalchemy.orm import Session

from ..api import compose, enqueue
from ..bulk.merge import MailMerge
from ..bulk.recipients import Sheet, seekable
from ..bulk.sending import Sending, default_key
from ..errors import MailError
from ..message.address import parse
from ..store.actions import NotPossible, cancel, purge, retry, retry_all
from ..store.history import timeline
from ..store.models import Email, Health, Priority, Status
from .progress import store

# What fits a BIGINT.
LARGEST_ID = 2**63 - 1
# PostgreSQL's code for a table that does not exist.
UNDEFINED_TABLE = "42P01"

if TYPE_CHECKING:
    from typing import BinaryIO


class Age(click.ParamType):  # type: ignore[type-arg] # generic only for mypy
    """A duration such as 30d, 12h or "30 days"."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Return the timedelta."""
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"(\d{1,5})\s*(s|m|h|d|second|minute|hour|day)s?", value)
        if found is None:
            self.fail(f"{value!r}: say how long, as 30d, 12h or 45m", param, ctx)
        unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[found.group(2)[0]]
        return timedelta(**{unit: int(found.group(1))})


class Moment(click.ParamType):  # type: ignore[type-arg] # generic only for mypy
    """A date and time such as 2026-12-24T08:00, or with a zone: 2026-12-24T08:00+01:00."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the aware datetime; without a zone, it is this machine's time."""
        try:
            return datetime.fromisoformat(value).astimezone()
        except (ValueError, OverflowError, OSError):
            self.fail(f"{value!r}: say when, as 2026-12-24T08:00 or 2026-12-24T08:00+01:00", param, ctx)


class MailGroup(AppGroup):
    """A group whose commands end with one line, and not with a traceback, where the database does not play its part."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; raise click's own error for what the package or the database says."""
        try:
            return super().invoke(ctx)
        except (MailError, NotPossible) as error:
            raise click.ClickException(str(error)) from error
        except sa.exc.DBAPIError as error:
            raise click.ClickException(_explain(error)) from error


def _explain(error: sa.exc.DBAPIError) -> str:
    said = next(iter(str(error.orig).splitlines()), "") or type(error.orig).__name__
    if "no such table" in said or getattr(error.orig, "sqlstate", None) == UNDEFINED_TABLE:
        return f"the outbox has no tables yet ({said}): run flask db upgrade"
    return f"the database cannot be used: {said}"


mail_cli = MailGroup("mail", help="Send mail, and see what became of it.")


def _session() -> Session:
    """Return a session of the command's own, closed at its end."""
    session: Session = click.get_current_context().with_resource(Session(_engine()))
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
    emails = enqueue(compose(to, subject, template, **context))
    click.echo(f"email {emails[0].id} is in the outbox")


@mail_cli.command("send-many")
@click.argument("template")
@click.argument("recipients", type=click.File("rb"))
@click.option("-s", "--subject", required=True, help="Subject, with variables: 'Hello {{ name }}'. The prefix is put before it.")
@click.option("--key", help="Name of the sending, within which nobody gets it twice.  [default: from TEMPLATE and subject]")
@click.option("--priority", type=click.Choice([one.name.lower() for one in Priority]), default="bulk", show_default=True)
@click.option("--send-at", type=Moment(), help="When it goes out: 2026-12-24T08:00, in this machine's time where no zone is given.")
@click.option("--dry-run", is_flag=True, help="Make every email, store none, and show the first.")
def send_many_command(template: str, recipients: BinaryIO, subject: str, key: str | None, **options: Any) -> None:
    """Put one personal email from TEMPLATE for each line of RECIPIENTS into the outbox.

    RECIPIENTS is a CSV file in UTF-8, or - for standard input. Its first line names the columns; email is the address, and each
    column is a variable in the template and in the subject. The same command again sends nobody a second copy: after an
    interruption it goes on, and of a longer file it sends what is new.
    """
    options["priority"] = Priority[options["priority"].upper()]
    merge = MailMerge(subject, template)
    name = default_key(template, subject) if key is None else key
    sending = Sending(_engine(), merge, name, **options)
    with seekable(recipients) as file:
        store(sending, Sheet(file), _mail())


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
@click.argument("email_id", metavar="ID", type=click.IntRange(1, LARGEST_ID))
def show_command(email_id: int) -> None:
    """Tell the whole story of one email: what happened, and what happens next."""
    email = _session().get(Email, email_id)
    if email is None:
        message = f"there is no email {email_id}; flask mail list shows the newest"
        raise click.ClickException(message)
    _tell(email)


@mail_cli.command("why")
@click.argument("address")
@click.option("-n", "--number", default=10, show_default=True, type=click.IntRange(1, 1000), help="How many, newest first.")
def why_command(address: str, number: int) -> None:
    """Tell the story of what was sent to ADDRESS, for whoever asks whether she got it."""
    envelope = parse(address, "the address").envelope
    spellings = Email.recipient.in_([envelope, envelope.lower()])
    emails = _session().scalars(sa.select(Email).where(spellings).order_by(Email.id.desc()).limit(number)).all()
    if not emails:
        message = "nothing was ever put into the outbox for that address, or it has been purged"
        raise click.ClickException(message)
    for position, email in enumerate(emails):
        if position:
            click.echo()
        _tell(email)


@mail_cli.command("deliver")
def deliver_command() -> None:
    """Send what is due now, in the foreground."""
    mail = _mail()
    # The operator who asks does not want to hear that the server is left alone for another minute.
    mail.forget_health()
    count = mail.deliver()
    waiting = _session().scalar(sa.select(sa.func.count()).where(Email.status.in_([Status.QUEUED, Status.SENDING])))
    click.echo(f"{count} emails settled, {waiting} waiting")
    _exit_if_unhealthy()


@mail_cli.command("health")
def health_command() -> None:
    """Say whether mail can be sent, and how much waits; the exit code is 1 if not."""
    session = _session()
    counts = session.execute(sa.select(Email.status, sa.func.count()).group_by(Email.status).order_by(Email.status))
    for status, count in counts:
        click.echo(f"{status:<10}{count:>8}")
    due = sa.and_(Email.status == Status.QUEUED, Email.send_at <= datetime.now(UTC))
    oldest = session.scalar(sa.select(sa.func.min(Email.due_since)).where(due))
    if oldest is not None:
        click.echo(f"the oldest that waits has been due since {_time(oldest)}")
    _exit_if_unhealthy()
    click.echo("nothing keeps mail from being sent")


@mail_cli.command("cancel")
@click.argument("email_id", metavar="ID", type=click.IntRange(1, LARGEST_ID))
def cancel_command(email_id: int) -> None:
    """Cancel an email that waits."""
    cancel(_engine(), email_id)
    click.echo(f"email {email_id} is cancelled")


@mail_cli.command("retry")
@click.argument("email_id", metavar="[ID]", type=click.IntRange(1, LARGEST_ID), required=False)
@click.option("--failed", "status", flag_value=Status.FAILED.value, help="Every email that has failed.")
@click.option("--held", "status", flag_value=Status.HELD.value, help="Every email that is held.")
def retry_command(email_id: int | None, status: str | None) -> None:
    """Send an email again that has failed, expired, or was cancelled or held."""
    if (email_id is None) == (status is None):
        message = "give one ID, or --failed, or --held"
        raise click.UsageError(message)
    if status is not None:
        count = retry_all(_engine(), Status(status))
    else:
        count = 1
        retry(_engine(), email_id or 0)
    click.echo(f"{count} emails go out again" if count != 1 else "1 email goes out again")
    if count:
        _mail().ring()


@mail_cli.command("purge")
@click.option("--older-than", required=True, type=Age(), help="How long ago it was finished: 30d, 12h.")
def purge_command(older_than: timedelta) -> None:
    """Remove what is finished, in small transactions that do not hold up delivery."""
    click.echo(f"{sum(purge(_engine(), older_than))} emails removed")


def _mail() -> Any:
    return current_app.extensions["mail"]


def _engine() -> sa.Engine:
    engine: sa.Engine = _mail().engine
    return engine


def _exit_if_unhealthy() -> None:
    health = _session().get(Health, 1)
    if health is not None:
        whose = "our own configuration is refused" if health.ours else "the server cannot be used"
        since, next_try = _time(health.since), _time(health.next_try_at)
        click.echo(f"no email can be sent since {since}, {whose}: {health.reason}; next try at {next_try}", err=True)
        sys.exit(1)


def _tell(email: Email) -> None:
    for name, value in _facts(email):
        click.echo(f"{name:<12}{value}")
    click.echo()
    for when, what in timeline(email):
        click.echo(f"{_time(when)}  {what}")


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


def _time(moment: datetime) -> str:
    return moment.astimezone().isoformat(" ", "seconds")
