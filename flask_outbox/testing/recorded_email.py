"""One recorded email, as a test sees it: the arguments of the caller and the stored message."""

from __future__ import annotations

from dataclasses import dataclass, field
from email import message_from_string, policy
from functools import cached_property
from typing import TYPE_CHECKING, Any

from flask_mail import Attachment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from email.message import EmailMessage

    from ..store.models import Email


@dataclass(frozen=True, eq=False)
class RecordedEmail:
    """One message for one recipient; a message for two recipients is recorded twice.

    ``template`` and ``context`` are what ``send_email`` or ``compose`` was called with, None and an empty mapping for a message
    that was made by hand. ``source`` is the message as stored. ``subject``, ``sender``, ``recipients``, ``body``, ``html`` and
    ``attachments`` mean what they mean in Flask-Mail's ``record_messages``; ``recipient`` is the address of this email alone.
    """

    recipient: str
    subject: str
    message_id: str
    source: bytes = field(repr=False)
    template: str | None
    context: Mapping[str, Any]
    row: Email = field(repr=False)
    load: Callable[[RecordedEmail], Email] = field(repr=False)

    @property
    def email(self) -> Email:
        """Return the row of the outbox as the database has it now: its status, its attempts, when it is due."""
        return self.load(self)

    @property
    def status(self) -> str:
        """Return the status that the email has now."""
        return self.email.status

    @cached_property
    def message(self) -> EmailMessage:
        """Return the stored message, parsed by the standard library; ``message["Reply-To"]`` is a header."""
        # message_from_bytes() does not read an address beyond ASCII.
        return message_from_string(self.source.decode(), policy=policy.default)

    @property
    def headers(self) -> dict[str, str]:
        """Return every header by its name."""
        return {name: str(value) for name, value in self.message.items()}

    @property
    def sender(self) -> str:
        """Return the address in the header From, which may differ from ``enqueue``'s *envelope_from*."""
        address: str = self.message["From"].addresses[0].addr_spec
        return address

    @property
    def recipients(self) -> list[str]:
        """Return the addresses in the header To."""
        return [address.addr_spec for address in self.message["To"].addresses] if "To" in self.message else []

    @property
    def body(self) -> str | None:
        """Return the text half, or None."""
        return self._half("plain")

    @property
    def html(self) -> str | None:
        """Return the HTML half, or None."""
        return self._half("html")

    def _half(self, kind: str) -> str | None:
        part: Any = self.message.get_body((kind,))
        return None if part is None else part.get_content().replace("\r\n", "\n")

    @property
    def attachments(self) -> list[Attachment]:
        """Return the attachments: ``filename``, ``content_type``, ``data`` as bytes, ``disposition``."""
        return [
            Attachment(part.get_filename(), part.get_content_type(), _data(part), part.get_content_disposition())
            for part in _attached(self.message)
        ]

    def __repr__(self) -> str:
        made = f" from {self.template}" if self.template else ""
        return f"<{self.subject!r} to {self.recipient}{made}>"


def _attached(message: Any) -> Iterator[Any]:
    for part in message.iter_parts() if message.get_content_maintype() == "multipart" else ():
        if part.get_content_disposition():
            yield part
        else:
            yield from _attached(part)


def _data(part: Any) -> bytes:
    if part.get_content_type() == "message/rfc822":
        return bytes(part.get_content())
    data: bytes = part.get_payload(decode=True)
    return data
