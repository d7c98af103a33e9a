"""The command that looks for what keeps mail from going out or from arriving: doctor."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from ..smtp.replies import clean
from ..state import current_state
from .group import mail_cli
from .printing import as_json_option, print_json

if TYPE_CHECKING:
    from ..doctor import Finding


@mail_cli.command("doctor")
@click.option(
    "--dkim-selector", "selectors", metavar="NAME", multiple=True, help="A DKIM selector to look up: s= in the signature."
)
@click.option("--nameserver", metavar="ADDRESS", help="Ask this DNS server instead of the system's: 192.0.2.1 or 192.0.2.1:53.")
@click.option("--visit", "visits", is_flag=True, help="Also request the base URL.")
@as_json_option
def doctor_command(*, selectors: tuple[str, ...], nameserver: str | None, visits: bool, as_json: bool) -> None:
    """Look for what keeps mail from going out or from arriving.

    Checks the settings, the base URL, the database and its tables, Redis, the workers, the SMTP server (connection, TLS, login,
    capabilities), and SPF, DKIM and DMARC of the sender's domain. Sends nothing and changes nothing. Each check is ok, a warning,
    failed, or skipped with the reason. Exits with code 1 if a check has failed. It takes less than a minute.
    """
    from ..doctor import Level, Options, examine  # noqa: PLC0415 - loads dnspython for this command alone

    try:
        findings = examine(current_state(), Options(selectors=selectors, nameserver=nameserver, visits=visits))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--nameserver") from error
    has_failed = any(finding.level is Level.FAILED for finding in findings)
    if as_json:
        print_json({"is_healthy": not has_failed, "findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            _print(finding)
    sys.exit(has_failed)


def _print(finding: Finding) -> None:
    # DNS records and the replies of servers are written by strangers.
    click.echo(f"{finding.level:<8}  {finding.name:<14}  {clean(finding.what)}")
    if finding.remedy:
        click.echo(f"{'':<26}{finding.remedy}")
