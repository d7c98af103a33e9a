"""Emails to choose from: by recipient, template, subject and context, with a repr that explains a failed assertion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

from ..message.address import parse
from .recorded_email import RecordedEmail

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..message.address import AddressLike

# Most emails to name in the message of a failed assertion.
NAMED = 10


class RecordedEmails(Sequence[RecordedEmail]):
    """A sequence of recorded emails, oldest first; each method narrows it down."""

    def __init__(self, emails: list[RecordedEmail], among: list[RecordedEmail], criteria: str) -> None:
        self._emails = emails
        self._among = among
        self._criteria = criteria

    # Choosing

    def to(self, address: AddressLike) -> RecordedEmails:
        """Return the emails to *address*."""
        recipient = parse(address, "recipient").envelope
        return self._narrow(f"to {recipient}", lambda email: email.recipient == recipient)

    def from_template(self, template: str) -> RecordedEmails:
        """Return the emails made from *template*, the name that ``send_email`` was called with."""
        return self._narrow(f"from {template}", lambda email: email.template == template)

    def with_subject(self, subject: str) -> RecordedEmails:
        """Return the emails with this *subject*, as the recipient reads it: MAIL_SUBJECT_PREFIX included."""
        return self._narrow(f"with the subject {subject!r}", lambda email: email.subject == subject)

    def with_context(self, **values: Any) -> RecordedEmails:
        """Return the emails whose template was given these *values*, perhaps among others."""
        text = ", ".join(f"{name}={value!r}" for name, value in values.items())
        return self._narrow(f"with {text}", lambda email: _has(email.context, values))

    def one(self) -> RecordedEmail:
        """Return the only email; raise AssertionError, listing the emails, if there is none or more than one."""
        emails = self._current()
        if len(emails) != 1:
            raise AssertionError(self._tell(emails) if not emails else f"there is more than one email: {self._tell(emails)}")
        return emails[0]

    def _narrow(self, criterion: str, is_wanted: Callable[[RecordedEmail], bool]) -> RecordedEmails:
        emails = self._current()
        among = self._among or emails
        return RecordedEmails([email for email in emails if is_wanted(email)], among, f"{self._criteria} {criterion}".strip())

    def _current(self) -> list[RecordedEmail]:
        return self._emails

    # A sequence

    def __len__(self) -> int:
        return len(self._current())

    @overload
    def __getitem__(self, index: int) -> RecordedEmail: ...
    @overload
    def __getitem__(self, index: slice) -> list[RecordedEmail]: ...
    def __getitem__(self, index: int | slice) -> RecordedEmail | list[RecordedEmail]:
        emails = self._current()
        try:
            return emails[index]
        except IndexError:
            message = f"there is no email {index}: {self._tell(emails)}"
            raise IndexError(message) from None

    def __repr__(self) -> str:
        return f"<{self._tell(self._current())}>"

    def _tell(self, emails: list[RecordedEmail]) -> str:
        what = f"email {self._criteria}".strip()
        if emails:
            return f"{len(emails)} {what.replace('email', 'emails', 1) if len(emails) > 1 else what}: {_list(emails)}"
        if not self._among:
            return f"no {what}; the outbox is empty" if self._criteria else "no email"
        return f"no {what}; there are: {_list(self._among)}"


def _has(context: Any, values: dict[str, Any]) -> bool:
    return all(name in context and bool(context[name] == value) for name, value in values.items())


def _list(emails: list[RecordedEmail]) -> str:
    more = len(emails) - NAMED
    named = ", ".join(repr(email).strip("<>") for email in emails[:NAMED])
    return f"{named}, and {more} more" if more > 0 else named
