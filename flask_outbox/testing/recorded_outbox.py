"""The fixture ``outbox``: what a test has enqueued, and how to deliver it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.orm import object_session

from ..signals import email_enqueued
from ..state import KEY
from .delivery_inside import deliver_inside
from .reading import Reading
from .recorded_email import RecordedEmail
from .recorded_emails import RecordedEmails

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask

    from ..state import MailState
    from ..store.models import Email


class RecordedOutbox(RecordedEmails):
    """The emails that were enqueued in *app* during one test, also those of a transaction that is still open.

    It leaves out what was rolled back, commits nothing of the test's, and needs no worker, no Redis and no network.
    """

    def __init__(self, app: Flask) -> None:
        super().__init__([], [], "")
        self._app = app
        self._state: MailState = app.extensions[KEY]
        self._reading = Reading(self._state.engine)

    @contextmanager
    def recording(self) -> Iterator[RecordedOutbox]:
        """Record what is enqueued inside the block."""
        with self._reading.watching(), email_enqueued.connected_to(self._record, self._app):
            yield self
        self.clear()

    def deliver(self) -> int:
        """Deliver what is due now, as a worker does, and return how many emails of this test were settled.

        Settled are those that were sent, refused, deferred, held or expired. With MAIL_SUPPRESS_SEND, the default
        with TESTING, nothing is transmitted and all are sent. Raises RuntimeError if a session has uncommitted work: no
        worker sees what is not committed.
        """
        if self._reading.is_in_progress:
            message = "the session has work that is not committed: commit or roll back before outbox.deliver()"
            raise RuntimeError(message)
        self._reading.end_reading()
        before = self._standing()
        if self._reading.outer is not None:
            deliver_inside(self._reading.outer, self._state)
        else:
            self._state.end_pause()
            self._state.deliver()
        self._expire()
        return sum(now != before.get(email) for email, now in self._standing().items())

    def clear(self) -> None:
        """Forget what was recorded so far; the emails themselves stay in the database."""
        self._emails.clear()

    def _current(self) -> list[RecordedEmail]:
        return self._reading.stored(self._emails)

    def _record(self, app: Flask, *, emails: list[Email], template: str | None, context: dict[str, Any], **_: Any) -> None:
        for row in emails:
            content, session = row.content, object_session(row)
            if session is not None:
                self._reading.add(session)
            self._emails.append(
                RecordedEmail(
                    recipient=row.recipient,
                    subject=content.subject,
                    message_id=content.message_id,
                    source=content.source or b"",
                    template=template,
                    context=context,
                    row=row,
                    load=self._reading.load,
                )
            )

    def _standing(self) -> dict[RecordedEmail, tuple[str, int, Any]]:
        rows = {email: email.email for email in self._current()}
        return {email: (row.status, row.tries, row.send_at) for email, row in rows.items()}

    def _expire(self) -> None:
        """Expire the test's own Email objects, so that they load the changes."""
        for email in self._emails:
            session = object_session(email.row)
            if session is not None and sa.inspect(email.row).persistent:
                session.expire(email.row)
