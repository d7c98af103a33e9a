"""The operator's desk: pages that answer "did she get the email?".

::

    app.register_blueprint(desk(may=may), url_prefix="/admin/mail")

    def may(action: Action, email: Email | None) -> bool:
        return current_user.is_admin

``mailbox()`` is for development: pages with all mail that a local SMTP server has written into a ``Maildir``.
"""

from .blueprint import desk
from .development.mailbox import mailbox
from .development.maildir import Maildir
from .rights import Action

__all__ = ["Action", "Maildir", "desk", "mailbox"]
