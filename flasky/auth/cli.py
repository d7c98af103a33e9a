"""``flask users create EMAIL``: create an account."""

from __future__ import annotations

import secrets

import click
from sqlalchemy.exc import IntegrityError

from flasky.auth.accounts import SHORTEST_PASSWORD, canonical
from flasky.commands import DatabaseGroup
from flasky.extensions import db
from flasky.models import User

users_cli = DatabaseGroup("users", help="Create accounts.")


@users_cli.command("create")
@click.argument("email")
@click.option("--admin", is_flag=True, help="Give access to the pages under /admin.")
def create_command(email: str, admin: bool) -> None:  # noqa: FBT001 - click's way
    """Create an account for EMAIL. With an empty password, one is generated and printed once."""
    try:
        address = canonical(email)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    password = click.prompt(
        "Password (empty: generate one)", default="", hide_input=True, show_default=False, confirmation_prompt="Repeat the password"
    )
    is_generated = not password
    password = password or secrets.token_urlsafe(15)
    if len(password) < SHORTEST_PASSWORD:
        message = f"That password is too short: use at least {SHORTEST_PASSWORD} characters."
        raise click.ClickException(message)
    create(address, password, admin=admin)
    click.echo(f"{address} can sign in" + (f" with the password {password}" if is_generated else ""))


def create(address: str, password: str, *, admin: bool = False) -> User:
    """Add the account, or raise ClickException if the address has one."""
    user = User(email=address, is_admin=admin)
    user.set_password(password)
    db.session.add(user)
    try:
        db.session.commit()
    except IntegrityError as error:
        db.session.rollback()
        message = f"{address} already has an account."
        raise click.ClickException(message) from error
    return user
