"""The command that makes a key for DKIM: dkim-key."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..message.dkim.key import InvalidKey
from ..message.dkim.record import ALGORITHMS, generate_key, private_line, private_pem, record_value, zone_line
from .group import mail_cli

if TYPE_CHECKING:
    from ..message.dkim.key import DkimKey


@mail_cli.command("dkim-key")
@click.argument("domain")
@click.argument("selector")
@click.option("--type", "algorithm", type=click.Choice(ALGORITHMS), default="rsa", show_default=True, help="RSA has 2048 bits.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="File for the private key, or - to print it on one line for an environment variable.  [default: SELECTOR.DOMAIN.pem]",
)
def dkim_key_command(domain: str, selector: str, algorithm: str, out: str | None) -> None:
    """Make a key that signs the mail from DOMAIN, and print its DNS record and the setting to add.

    SELECTOR is the name of the key: choose another one for each key, such as s2026. The file is readable for you alone, and an
    existing one is never overwritten. Publish the record before you add the setting.
    """
    try:
        key = generate_key(selector, domain, algorithm)
    except InvalidKey as error:
        raise click.UsageError(str(error)) from error
    except ImportError as error:
        message = "DKIM needs the package cryptography: install flask-outbox[dkim]"
        raise click.ClickException(message) from error
    place = private_line(key) if out == "-" else str(_store(key, Path(out or f"{key.selector}.{key.domain}.pem")))
    _print(key, place)


def _store(key: DkimKey, path: Path) -> Path:
    """Write the private key to a new file that only its owner can read, and return its absolute path."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        message = f"{path} exists, and a key is never overwritten: choose another --out, or another selector"
        raise click.ClickException(message) from error
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}"
        raise click.ClickException(message) from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(private_pem(key))
    return path.resolve()


def _print(key: DkimKey, place: str) -> None:
    value = record_value(key)
    click.echo("1. Publish this TXT record. As a line of a zone file:\n")
    click.echo(zone_line(key.name, value))
    click.echo("\n   For the form of a DNS provider, which splits a long value by itself:\n")
    click.echo(f"name   {key.name}\nvalue  {value}")
    click.echo("\n2. Once it can be looked up, add this setting; several keys have commas between them:\n")
    click.echo(f"MAIL_DKIM_KEYS={key.selector}:{key.domain}:{place}")
