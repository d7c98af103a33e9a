"""Creates an administrator and prints the session cookie of a signed-in browser: ``python -m bench.operator``."""

from __future__ import annotations

from typing import Any

from flasky import create_app
from flasky.extensions import db
from flasky.models import User


def main() -> None:
    """Create the account, and print ``session=...``."""
    app = create_app()
    with app.app_context():
        user = User(email="operator@example.com", is_admin=True)
        user.set_password("a password that nobody types")
        db.session.add(user)
        db.session.commit()
        interface: Any = app.session_interface
        value = interface.get_signing_serializer(app).dumps({"_user_id": user.get_id(), "_fresh": True})
        print(f"{app.config['SESSION_COOKIE_NAME']}={value}")


if __name__ == "__main__":
    main()
