"""The command that checks the app's mail templates with their sample data: lint."""

from __future__ import annotations

import sys
from dataclasses import asdict
from itertools import chain
from typing import TYPE_CHECKING, Any

import click
from flask import current_app

from ..state import current_state
from .group import mail_cli
from .printing import as_json_option, count, print_json

if TYPE_CHECKING:
    from ..previews.checking import Checked
    from ..previews.lint import Finding
    from ..previews.mails import Mail


@mail_cli.command("lint")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--strict", is_flag=True, help="Exit with code 1 also if there are only warnings.")
@click.option("--notes", is_flag=True, help="Print what a mail looks plainer without in some clients, too.")
@as_json_option
def lint_command(names: tuple[str, ...], *, strict: bool, notes: bool, as_json: bool) -> None:
    """Check the mail templates with their sample data; without a NAME, such as mail/welcome, all of them.

    Each mail is rendered with each variant of its sample data, and nothing is sent or stored. It checks that both halves have the
    same links, that these are absolute, that nothing is unrendered or escaped where a reader sees it, alt texts, size, and HTML and
    CSS that large clients do not support. Exits with code 1 if there are errors.
    """
    # The parsers of HTML and CSS, which no other command needs, take 30 ms to load.
    from ..previews.checking import check  # noqa: PLC0415

    mails = _find(names)
    checked = list(chain.from_iterable(check(current_state(), mail) for mail in mails))
    if as_json:
        findings = [_as_dict(each, finding) for each in checked for finding in each.findings]
        print_json({"mails": len(mails), "findings": findings})
    else:
        _print(checked, len(mails), notes=notes)
    sys.exit(any(each.errors or (strict and each.warnings) for each in checked))


def _find(names: tuple[str, ...]) -> list[Mail]:
    from ..previews.mails import find_mail, find_mails  # noqa: PLC0415 - as above

    folder = current_state().settings.template_folder
    mails = [find_mail(current_app, folder, name) for name in names] or find_mails(current_app, folder)
    if not mails:
        message = f"no template folder of the app has a mail below {folder}/: set MAIL_TEMPLATE_FOLDER"
        raise click.ClickException(message)
    return mails


def _as_dict(checked: Checked, finding: Finding) -> dict[str, Any]:
    return {"mail": checked.mail.name, "variant": checked.variant, **asdict(finding)}


def _print(checked: list[Checked], mails: int, *, notes: bool) -> None:
    for each in checked:
        for finding in each.findings:
            if notes or finding.level != "note":
                click.echo(f"{each.mail.name} ({each.variant}), {finding.where}: {_words(finding)}")
    counts = [count(sum(getattr(each, f"{noun}s") for each in checked), noun) for noun in ("error", "warning", "note")]
    click.echo(f"{count(mails, 'mail')}, {count(len(checked), 'variant')}: {', '.join(counts)}")


def _words(finding: Finding) -> str:
    words = f"{finding.level}: {finding.what}. {finding.remedy}"
    return f"{words} {finding.source}" if finding.source else words
