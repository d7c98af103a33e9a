"""Flask-Security's mail through the outbox: hand ``OutboxMailUtil`` to ``Security``, and no request waits for SMTP.

::

    from flask_outbox.integrations.flask_security import OutboxMailUtil

    security = Security(mail_util_cls=OutboxMailUtil)        # Flask-Security 5.9 or newer
    security.init_app(app, datastore)                        # after mail.init_app(app)

Only the constructor takes ``mail_util_cls``. ``Security.init_app`` ignores it without a word, and then each request sends its mail
itself.

A mail joins the transaction in progress: a new user and its confirmation mail are committed together, or neither is. A mail
about a token that nobody stores (a password reset, a login link) finds nothing in progress and is committed at once. If one of
Flask-Security's own views leaves the transaction open, as a login with two factors does after it has renewed a password hash, the
transaction is committed behind that view, unless the response is a server error. In a view of your own, you commit.

All mail is urgent. A *secret* mail carries a link, a token or a code: nobody is shown its body, and the body is erased once the
mail is sent, failed or expired. An undelivered mail expires together with its token:

======================================  ======  ===========================================================================
mail                                    secret  expires after
======================================  ======  ===========================================================================
welcome, with a confirmation link       yes     SECURITY_CONFIRM_EMAIL_WITHIN
welcome, without                        no      never
registered before (generic responses)   yes     SECURITY_RESET_PASSWORD_WITHIN or SECURITY_CONFIRM_EMAIL_WITHIN, the longer
registered before, without a link       no      never
user name is taken (generic responses)  no      never
confirmation instructions               yes     SECURITY_CONFIRM_EMAIL_WITHIN
password reset instructions             yes     SECURITY_RESET_PASSWORD_WITHIN
passwordless login link                 yes     SECURITY_LOGIN_WITHIN
unified sign-in code and magic link     yes     SECURITY_US_TOKEN_VALIDITY
two-factor code                         yes     SECURITY_TWO_FACTOR_MAIL_VALIDITY
change of the email address             yes     SECURITY_CHANGE_EMAIL_WITHIN
user name recovery                      yes     never
password changed, password reset        no      never
user name changed                       no      never
two-factor rescue, to the site's staff  no      never
any other template, such as your own    yes     as above if it carries a ``reset_token`` or a ``confirmation_token``
======================================  ======  ===========================================================================

The recovery mail is secret because a user name is half of a login. Flask-Security writes the subject, so MAIL_SUBJECT_PREFIX does
not apply.

Flask-Security's links begin with the Host that the request claims, and whoever forges it makes the site mail somebody a valid
token with a link to another site. With MAIL_BASE_URL the links of the table begin with that instead. Links that a template of
your own makes with ``url_for`` do not, so set Flask's TRUSTED_HOSTS as well.

A form refuses an address that the outbox cannot send to. If a mail is invalid nevertheless, the views for codes show an error;
any other mail is dropped with an error in the log, because a page that fails for some addresses reveals which accounts exist.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from flask import after_this_request, current_app, has_request_context, request
from flask_security.mail_util import EmailValidateException, MailUtil
from flask_security.utils import get_message
from markupsafe import escape
from sqlalchemy.orm import object_session

from ..api import enqueue
from ..direct import Message
from ..errors import InvalidMessage
from ..message.address import parse
from ..settings import ConfigurationError
from ..state import current_state
from ..store.models import Email, Priority

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flask import Flask, Response
    from sqlalchemy.orm import Session

    from ..message.address import AddressLike

log = logging.getLogger(__name__)

# The setting with the lifetime of a token: by the token's name in the context, or, for names that several tokens share, by the
# setting that names the template.
BY_TOKEN = {"confirmation_token": "CONFIRM_EMAIL_WITHIN", "reset_token": "RESET_PASSWORD_WITHIN"}
CODES = {"TWO_FACTOR_EMAIL_TEMPLATE": "TWO_FACTOR_MAIL_VALIDITY", "US_EMAIL_TEMPLATE": "US_TOKEN_VALIDITY"}
BY_TEMPLATE = CODES | {"EMAIL_TEMPLATE_PASSWORDLESS": "LOGIN_WITHIN", "CHANGE_EMAIL_EMAIL_TEMPLATE": "CHANGE_EMAIL_WITHIN"}
# The settings that name the templates of mail without secrets. All other mail is secret, and so is mail with a link, token or code
# in its context.
NOTICES = (
    "REGISTER_EMAIL_TEMPLATE",
    "REGISTER_EMAIL_EXISTING_TEMPLATE",
    "REGISTER_EMAIL_EXISTING_USERNAME_TEMPLATE",
    "EMAIL_TEMPLATE_PASSWORD_CHANGE_NOTICE",
    "EMAIL_TEMPLATE_PASSWORD_RESET_NOTICE",
    "CHANGE_USERNAME_EMAIL_TEMPLATE",
    "TWO_FACTOR_RESCUE_EMAIL_TEMPLATE",
)
SECRET_NAMES = ("link", "token", "code")
SERVER_ERROR = 500


class OutboxMailUtil(MailUtil):
    """Flask-Security's mail utility, over the outbox.

    Raises ConfigurationError while the app is made, if SECURITY_EMAIL_SENDER is no address.
    """

    def __init__(self, app: Flask) -> None:
        super().__init__(app)
        with app.app_context():
            try:
                sender = _sender(app.config["SECURITY_EMAIL_SENDER"])
                if sender is not None:
                    parse(sender, "SECURITY_EMAIL_SENDER")
            except InvalidMessage as error:
                raise ConfigurationError([str(error)]) from error

    def send_mail(
        self,
        template: str,
        subject: str,
        recipient: str | tuple[str, str],
        sender: str | tuple[str, str],
        body: str | None,
        html: str | None,
        **context: Any,
    ) -> None:
        """Put the mail into the outbox."""
        # The subject and the names may be lazy translations.
        body, html = (_at_base_url(half, context) for half in (body, html))
        message = Message(str(subject), [recipient], body, html, sender=_sender(sender))
        try:
            (email,) = enqueue(
                message,
                priority=Priority.URGENT,
                expires_at=_expiry(template, context),
                secret=_is_secret(template, context),
            )
        except InvalidMessage as error:
            if template in _templates(CODES):
                raise
            log.error("Flask-Security's email %s was not sent: %s", template, error)
        else:
            _commit_behind_the_view(email)

    def validate(self, email: str) -> str:
        """Return the normalized address of a form; raise EmailValidateException for one that cannot get mail."""
        normalized = super().validate(email)
        try:
            parse(normalized, "the address")
        except InvalidMessage as error:
            raise EmailValidateException(get_message("INVALID_EMAIL_ADDRESS")[0]) from error
        return normalized


def _sender(value: Any) -> AddressLike | None:
    """Return the sender as strings; None stands for MAIL_DEFAULT_SENDER."""
    if not value:
        return None
    if isinstance(value, tuple | list):
        name, address = value
        return str(name), str(address)
    return str(value)


def _at_base_url(text: str | None, context: dict[str, Any]) -> str | None:
    """Replace the request's Host by MAIL_BASE_URL in the links that the context holds."""
    base = current_state().settings.base_url
    if not (text and base and has_request_context()):
        return text
    for root in {_root(str(value)) for name, value in context.items() if value and name.endswith("link")}:
        for written in {root, str(escape(root))}:
            text = text.replace(written, base.rstrip("/") + "/")
    return text


def _root(link: str) -> str:
    parts = urlsplit(link)
    return f"{parts.scheme}://{parts.netloc}{request.script_root}/"


def _setting(name: str) -> Any:
    return current_app.config.get(f"SECURITY_{name}")


def _templates(settings: Iterable[str]) -> set[str]:
    return {_setting(name) for name in settings}


def _is_secret(template: str, context: dict[str, Any]) -> bool:
    carries = any(value and name.endswith(SECRET_NAMES) for name, value in context.items())
    return carries or template not in _templates(NOTICES)


def _expiry(template: str, context: dict[str, Any]) -> datetime | None:
    """Return when the last token of the mail expires, or None for mail without a token."""
    lifetimes = [_lifetime(name) for name in _validities(template, context)]
    return datetime.now(UTC) + max(lifetimes) if lifetimes else None


def _validities(template: str, context: dict[str, Any]) -> Iterator[str]:
    yield from (setting for token, setting in BY_TOKEN.items() if context.get(token))
    yield from (setting for name, setting in BY_TEMPLATE.items() if template == _setting(name))


def _lifetime(name: str) -> timedelta:
    """Return a duration; Flask-Security turns "2 days" into a timedelta, and keeps plain seconds."""
    value = _setting(name)
    return value if isinstance(value, timedelta) else timedelta(seconds=float(value))


def _commit_behind_the_view(email: Email) -> None:
    """Commit after the view if the mail has joined a transaction of a Flask-Security view, because not all of them commit."""
    session = object_session(email)
    if session is None or not sa.inspect(email).pending:
        return
    if has_request_context() and request.blueprint == _setting("BLUEPRINT_NAME"):
        after_this_request(partial(_commit, session))


def _commit(session: Session, response: Response) -> Response:
    if response.status_code < SERVER_ERROR and session.in_transaction():
        session.commit()
    return response
