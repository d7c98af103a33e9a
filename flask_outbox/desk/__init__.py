"""The operator's desk: pages that answer "did she get the email?".

::

    app.register_blueprint(desk(may=may), url_prefix="/admin/mail")

    def may(action: Action, email: Email | None) -> bool:
        return current_user.is_admin
"""

from .blueprint import desk
from .rights import Action

__all__ = ["Action", "desk"]
