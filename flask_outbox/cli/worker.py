"""``flask mail worker``: the process that delivers, woken by RQ."""

from __future__ import annotations

import logging

import click

from ..state import current_state
from .group import mail_cli


@mail_cli.command("worker")
@click.option("--burst", is_flag=True, help="Deliver all due email, then exit; with code 1 if that is impossible.")
@click.option("--verbose", is_flag=True, help="Log every email.")
def worker_command(*, burst: bool, verbose: bool) -> None:
    """Deliver until stopped (MAIL_DELIVERY=rq).

    The worker delivers at once when the app enqueues, and sweeps every few seconds by itself: for retries, for scheduled email, for
    the email of a killed worker, and for everything while Redis is down. Run as many as you like on PostgreSQL; on SQLite one is
    fastest. On SIGTERM it finishes the email on the wire, releases the rest and exits within four seconds.
    """
    state = current_state()
    if state.settings.delivery != "rq":
        message = f"MAIL_DELIVERY is {state.settings.delivery}: a worker needs MAIL_DELIVERY=rq and MAIL_REDIS_URL"
        raise click.ClickException(message)
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    obstacle = state.make_worker().run(burst=burst)
    if obstacle:
        raise click.ClickException(obstacle)
