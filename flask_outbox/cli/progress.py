"""Store a large sending at a terminal: show progress, stop cleanly on Ctrl-C, and report the result."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
import sqlalchemy as sa

from .printing import count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..bulk.recipients import Recipients
    from ..bulk.sending import Sending, Tally
    from ..state import MailState

CONTINUE = "run the same command again to continue"


def store(sending: Sending, recipients: Recipients, state: MailState) -> None:
    """Store a sending with a progress bar, wake the workers meanwhile, and print the result.

    *state* is the app's mail state. Raises ClickException if the sending is incomplete, because it was stopped or because some
    lines are invalid.
    """
    # A delivery thread of this process would end with the command. An inline bell delivers before it returns: ring it once.
    rings, at_the_end = sending.is_due and not state.delivers_here, state.bell.is_inline
    with _stopping() as stop:
        for _ in _with_bar(sending, recipients):
            if rings and not at_the_end:
                state.ring()
            if stop.is_set():
                break
    _report(sending)
    if rings and at_the_end and not stop.is_set():
        state.ring()
    elif sending.is_due and state.delivers_here and sending.tally.stored:
        click.echo("the web process delivers them; if none is running, run flask mail deliver")
    _exit_if_incomplete(sending.tally, stopped=stop.is_set())


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Give an event that the first Ctrl-C or SIGTERM sets, to stop between two transactions; a second one stops at once."""
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


def _with_bar(sending: Sending, recipients: Recipients) -> Iterator[None]:
    """Store chunk after chunk, and show how much of the file has been read."""
    bar = click.progressbar(length=recipients.size, label="storing", file=sys.stderr, hidden=not sys.stderr.isatty())
    try:
        with bar:
            for _ in sending.run(recipients):
                bar.update(recipients.position - bar.pos)
                yield
    except (sa.exc.SQLAlchemyError, KeyboardInterrupt):
        if sending.tally.stored:
            click.echo(f"{count(sending.tally.stored, 'email')} stored; {CONTINUE}", err=True)
        raise


def _report(sending: Sending) -> None:
    tally, first = sending.tally, sending.first
    for complaint in tally.complaints:
        click.echo(complaint, err=True)
    if tally.invalid > len(tally.complaints):
        click.echo(f"and {tally.invalid - len(tally.complaints)} more", err=True)
    if sending.dry_run and first is not None:
        click.echo(f"to       {first.recipients[0]}\nsubject  {first.subject}")
        for name, value in dict(first.extra_headers or {}).items():
            click.echo(f"{name}: {value}")
        click.echo(f"\n{first.body}\n")
    done = "would be stored" if sending.dry_run else "stored"
    click.echo(f"{count(tally.stored, 'email')} {done} under the key {sending.key}")
    if tally.skipped:
        click.echo(f"{count(tally.skipped, 'line')} skipped: the address already has the email of this sending")
    if tally.skipped and not tally.stored:
        click.echo("NO NEW RECIPIENTS: to send the same people another email, start a new sending with --key NAME")


def _exit_if_incomplete(tally: Tally, *, stopped: bool) -> None:
    if stopped:
        message = f"stopped before the end: {CONTINUE}"
        raise click.ClickException(message)
    if tally.invalid:
        lines = count(tally.invalid, "invalid line")
        message = f"{lines} skipped: correct the file and run the same command again; nobody gets a second copy"
        raise click.ClickException(message)
