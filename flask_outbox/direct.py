"""Flask-Mail's own calls, ``mail.send()`` and ``mail.connect()``: at once, without the outbox, over the one verified transport."""

from __future__ import annotations

import time
from email.utils import make_msgid
from typing import TYPE_CHECKING, Any, NoReturn, Self

import flask_mail

from .errors import Deferred, Held, Refused, TransmissionError, Unavailable
from .smtp.envelope import Envelope
from .smtp.transport import Transport
from .state import MailState, current_state

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from .message.address import AddressLike
    from .message.writer import WrittenMessage


class Message(flask_mail.Message):
    """Flask-Mail's message, with the same arguments.

    Flask-Mail's own looks up this host's name in DNS to make an id, which may hang.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - Flask-Mail's arguments, in its order
        self,
        subject: Any = "",
        recipients: list[AddressLike] | None = None,
        body: str | None = None,
        html: str | None = None,
        alts: dict[str, str] | Iterable[tuple[str, str]] | None = None,
        sender: AddressLike | None = None,
        cc: list[AddressLike] | None = None,
        bcc: list[AddressLike] | None = None,
        attachments: list[flask_mail.Attachment] | None = None,
        reply_to: AddressLike | None = None,
        date: float | None = None,
        charset: str | None = None,
        extra_headers: dict[str, str] | None = None,
        mail_options: list[str] | None = None,
        rcpt_options: list[str] | None = None,
    ) -> None:
        sender = sender or current_state().default_sender
        self.sender = _one_string(sender)  # type: ignore[assignment] # None until it is written
        self.subject = subject
        self.recipients, self.cc, self.bcc = recipients or [], cc or [], bcc or []
        self.reply_to = reply_to
        self.body = body
        self.alts = dict(alts or {})
        self.html = html
        self.date = date
        self.charset = charset
        self.extra_headers = extra_headers
        self.mail_options, self.rcpt_options = mail_options or [], rcpt_options or []
        self.attachments = attachments or []
        self._msg_id = ""

    @property
    def msgId(self) -> str:  # noqa: N802 - Flask-Mail's name
        """Return an id for ``as_bytes()``; a message that is sent gets its id from the writer."""
        self._msg_id = self._msg_id or make_msgid(domain="localhost")
        return self._msg_id

    @msgId.setter
    def msgId(self, value: str) -> None:  # noqa: N802 - as above
        self._msg_id = value


# In these a name is ambiguous in front of an address, unless it is quoted.
AMBIGUOUS = frozenset('<>",@')


def _one_string(sender: AddressLike | None) -> AddressLike | None:
    """Return a pair as Flask-Mail does, "Name <a@b.example>", if that is read as the same name."""
    if isinstance(sender, tuple) and AMBIGUOUS.isdisjoint(str(sender[0])):
        return f"{sender[0]} <{sender[1]}>"
    return sender


class Connection(flask_mail.Connection):
    """Flask-Mail's connection, with verified TLS and timeouts. Closing it raises no error, because the emails are sent by then."""

    mail: MailState  # type: ignore[assignment] # Flask-Mail annotates it as Mail, and passes its state

    def __init__(self, mail: MailState) -> None:
        super().__init__(mail)  # type: ignore[arg-type] # as above
        self._transport = Transport(mail.smtp)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._transport.close()

    def configure_host(self) -> NoReturn:
        """Raise RuntimeError: Flask-Mail's own would connect without verified TLS, without a timeout and past MAIL_ALLOW_TO."""
        message = "this connection is opened by send(), which verifies the server: call that"
        raise RuntimeError(message)

    def send(self, message: flask_mail.Message, envelope_from: AddressLike | None = None) -> None:
        """Send *message* now, to each of its recipients in turn, from *envelope_from* or the message's sender.

        Raises InvalidMessage before anything is sent. Otherwise it tries all recipients, and then raises the first error, whose
        text names every recipient that failed: Unavailable if the server cannot be used, otherwise Refused, Deferred or Held.
        """
        if message.date is None:
            message.date = time.time()
        failures = self._transmit(self.mail.write(message, envelope_from=envelope_from))
        if failures:
            first = failures[0][1]
            first.args = ("; ".join(f"{recipient}: {error}" for recipient, error in failures),)
            raise first
        self.num_emails += 1
        flask_mail.email_dispatched.send(self.mail.app, message=message)

    def send_message(self, *args: Any, **kwargs: Any) -> None:
        """Send ``Message(*args, **kwargs)`` now."""
        self.send(Message(*args, **kwargs))

    def _transmit(self, written: WrittenMessage) -> list[tuple[str, TransmissionError]]:
        """Send to each recipient, and return those that failed: all the remaining ones, if the server is unavailable."""
        failures: list[tuple[str, TransmissionError]] = []
        waiting = [] if self.mail.suppress else [address.envelope for address in written.recipients]
        while waiting:
            try:
                self._transport.transmit(Envelope(written.sender.envelope, waiting[0], written.source))
            except (Refused, Deferred, Held) as error:
                failures.append((waiting[0], error))
            except Unavailable as error:
                return [(", ".join(waiting), error), *failures]
            del waiting[0]
        return failures
