"""``flask users create EMAIL``: make an account."""

from __future__ import annotations

import secrets

import click
from flask.cli import AppGroup
from sqlalchemy.exc import IntegrityError

from flasky.auth.accounts import SHORTEST_PASSWORD, canonical
from flasky.extensions import db
from flasky.models import User

users_cli = AppGroup("users", help="Make accounts.")


@users_cli.command("create")
@click.argument("email")
@click.option("--admin", is_flag=True, help="May see the operator's pages.")
def create_command(email: str, admin: bool) -> None:  # noqa: FBT001 - click's way
    """Make an account for EMAIL; with an empty password one is made up and printed, once."""
    try:
        address = canonical(email)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    password = click.prompt(
        "Password (empty: make one up)", default="", hide_input=True, show_default=False, confirmation_prompt="Once more"
    )
    made_up = not password
    password = password or secrets.token_urlsafe(15)
    if len(password) < SHORTEST_PASSWORD:
        message = f"that password is too short: {SHORTEST_PASSWORD} characters at least"
        raise click.ClickException(message)
    create(address, password, admin=admin)
    click.echo(f"{address} can sign in" + (f" with the password {password}" if made_up else ""))


def create(address: str, password: str, *, admin: bool = False) -> User:
    """Add the account, or raise ClickException where there is one."""
    user = User(email=address, is_admin=admin)
    user.set_password(password)
    db.session.add(user)
    try:
        db.session.commit()
    except IntegrityError as error:
        db.session.rollback()
        message = f"there is an account for {address} already"
        raise click.ClickException(message) from error
    return user
