"""What a browser does for a visitor of the test client: carry a form's CSRF token along, and sign in."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from werkzeug.security import generate_password_hash

from flasky.extensions import db
from flasky.models import User

if TYPE_CHECKING:
    from flask import Flask

EMAIL, PASSWORD = "susan@example.com", "correct horse battery"


def token(client: Any, path: str = "/", **options: Any) -> str:
    """Return the CSRF token in the form at *path*."""
    page = client.get(path, **options).text
    found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
    assert found, page
    return found[1]


def fill(client: Any, path: str = "/", **fields: str) -> Any:
    """Fill in the form at *path*, and return the answer."""
    return client.post(path, data={"csrf_token": token(client, path)} | fields)


def add_account(app: Flask, email: str = EMAIL, *, admin: bool = False) -> str:
    """Add an account with PASSWORD, and return what its session holds."""
    with app.app_context():
        user = User(email=email, is_admin=admin, password_hash=_hash())
        user.end_sessions()
        db.session.add(user)
        db.session.commit()
        return user.get_id()


@cache
def _hash() -> str:
    return generate_password_hash(PASSWORD)


def signed_in(app: Flask, *, admin: bool = False) -> Any:
    """Return a client whose visitor has an account and is signed in."""
    client = app.test_client()
    with client.session_transaction() as session:
        session["_user_id"], session["_fresh"] = add_account(app, admin=admin), True
    return client
