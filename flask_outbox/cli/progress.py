"""A large sending at the operator's console: how far it is, how to stop it, and what came of it."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..bulk.recipients import Sheet
    from ..bulk.sending import Sending, Tally

GO_ON = "the same command goes on from there"


def store(sending: Sending, sheet: Sheet, mail: Any) -> None:
    """Store a sending behind a progress bar, have it delivered meanwhile, and say what came of it.

    *mail* is the app's state of this package. Raises ClickException where the sending is not complete, be it that somebody has
    stopped it or that some lines are bad.
    """
    # A thread of this process would end with it; inline delivers before it goes on, so it is rung once.
    rings, at_the_end = sending.is_due and not mail.delivers_here, mail.bell.is_inline
    with _stopping() as stop:
        for _ in _with_bar(sending, sheet):
            if rings and not at_the_end:
                mail.ring()
            if stop.is_set():
                break
    _report(sending)
    if rings and at_the_end and not stop.is_set():
        mail.ring()
    elif sending.is_due and mail.delivers_here and sending.tally.stored:
        click.echo("the web process delivers them; where none is running, flask mail deliver does")
    _exit_if_incomplete(sending.tally, stopped=stop.is_set())


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Give an event that Ctrl-C or SIGTERM sets, so that work ends between two transactions; the second ends it at once."""
    stop = threading.Event()

    def on_signal(number: int, _: Any) -> None:
        stop.set()
        signal.signal(number, before[signal.Signals(number)])

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _with_bar(sending: Sending, sheet: Sheet) -> Iterator[None]:
    """Go through the chunks of a sending, showing how much of the file has been read."""
    bar = click.progressbar(length=sheet.size, label="storing", file=sys.stderr, hidden=not sys.stderr.isatty())
    try:
        with bar:
            for _ in sending.run(sheet):
                bar.update(sheet.position - bar.pos)
                yield
    except (sa.exc.SQLAlchemyError, KeyboardInterrupt):
        if sending.tally.stored:
            click.echo(f"{_count(sending.tally.stored, 'email')} stored; {GO_ON}", err=True)
        raise


def _report(sending: Sending) -> None:
    tally, first = sending.tally, sending.first
    for complaint in tally.complaints:
        click.echo(complaint, err=True)
    if tally.bad > len(tally.complaints):
        click.echo(f"and {tally.bad - len(tally.complaints)} more", err=True)
    if sending.dry_run and first is not None:
        click.echo(f"to       {first.recipients[0]}\nsubject  {first.subject}\n\n{first.body}\n")
    done = "would be stored" if sending.dry_run else "stored"
    click.echo(f"{_count(tally.stored, 'email')} {done}, as the sending {sending.key}")
    if tally.there:
        click.echo(f"{_count(tally.there, 'line')} left out: the address has the mail of this sending already")
    if tally.there and not tally.stored:
        click.echo("NOBODY NEW: to send it to the same people once more, start another sending with --key NAME")


def _exit_if_incomplete(tally: Tally, *, stopped: bool) -> None:
    if stopped:
        message = f"stopped before the end; {GO_ON}"
        raise click.ClickException(message)
    if tally.bad:
        lines = _count(tally.bad, "bad line")
        message = f"{lines} left out: correct the file and run the same command again; nobody gets the mail twice"
        raise click.ClickException(message)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
