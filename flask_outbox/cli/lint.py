"""The command that checks the app's mail templates with their sample data: lint."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from itertools import chain
from typing import TYPE_CHECKING, Any

import click
from flask import current_app

from ..previews.checking import check
from ..previews.lint import Level
from ..previews.mails import find_mail, find_mails
from ..state import current_state
from .group import mail_cli
from .printing import count

if TYPE_CHECKING:
    from ..previews.checking import Checked
    from ..previews.lint import Finding


@mail_cli.command("lint")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--strict", is_flag=True, help="Exit with code 1 also if there are only warnings.")
@click.option("--notes", is_flag=True, help="Print what a mail looks plainer without in some clients, too.")
@click.option("--json", "as_json", is_flag=True, help="Print every finding in one JSON object.")
def lint_command(names: tuple[str, ...], *, strict: bool, notes: bool, as_json: bool) -> None:
    """Check the mail templates with their sample data; without a NAME, such as mail/welcome, all of them.

    Each mail is rendered with each variant of its sample data, and nothing is sent or stored. It checks that both halves have the
    same links, that these are absolute, that nothing is unrendered or escaped where a reader sees it, alt texts, size, and HTML and
    CSS that large clients do not support. Exits with code 1 if there are errors.
    """
    state = current_state()
    folder = state.settings.template_folder
    mails = [find_mail(current_app, folder, name) for name in names] or find_mails(current_app, folder)
    if not mails:
        message = f"no template folder of the app has a mail below {folder}/: set MAIL_TEMPLATE_FOLDER"
        raise click.ClickException(message)
    checked = list(chain.from_iterable(check(state, mail) for mail in mails))
    if as_json:
        findings = [_as_dict(each, finding) for each in checked for finding in each.findings]
        click.echo(json.dumps({"mails": len(mails), "findings": findings}))
    else:
        _print(checked, len(mails), notes=notes)
    counts = _counts(checked)
    sys.exit(bool(counts[Level.ERROR] or (strict and counts[Level.WARNING])))


def _counts(checked: list[Checked]) -> dict[Level, int]:
    return {level: sum(each.count(level) for each in checked) for level in Level}


def _as_dict(checked: Checked, finding: Finding) -> dict[str, Any]:
    return {"mail": checked.mail.name, "variant": checked.variant, **asdict(finding)}


def _words(finding: Finding) -> str:
    words = f"{finding.level}: {finding.what}. {finding.remedy}"
    return f"{words} {finding.source}" if finding.source else words


def _print(checked: list[Checked], mails: int, *, notes: bool) -> None:
    for each in checked:
        for finding in each.findings:
            if notes or finding.level is not Level.NOTE:
                click.echo(f"{each.mail.name} ({each.variant}), {finding.where}: {_words(finding)}")
    counts = ", ".join(count(number, level.value) for level, number in _counts(checked).items())
    click.echo(f"{count(mails, 'mail')}, {count(len(checked), 'variant')}: {counts}")
